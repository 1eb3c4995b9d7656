"""The type of every part of an expression, and which functions its calls may mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.machinery.cel import types
from cluster.machinery.cel.ast import (
    Call,
    Comprehension,
    Constant,
    Ident,
    ListNode,
    MapNode,
    Node,
    Select,
)
from cluster.machinery.cel.errors import CompileError, Issue
from cluster.machinery.cel.functions import Library, Overload
from cluster.machinery.cel.parser import qualified_name
from cluster.machinery.cel.types import BOOL, DYN, ERROR, INT, Type
from cluster.machinery.cel.values import TypeValue, UInt

BASIC_TYPES = {
    "bool": types.BOOL, "int": types.INT, "uint": types.UINT, "double": types.DOUBLE,
    "string": types.STRING, "bytes": types.BYTES, "null_type": types.NULL, "dyn": DYN,
    "list": types.list_of(DYN), "map": types.map_of(DYN, DYN), "type": types.type_of(DYN),
    "google.protobuf.Timestamp": types.TIMESTAMP, "google.protobuf.Duration": types.DURATION,
    "optional_type": types.optional_of(DYN), "net.IP": Type("net.IP"),
    "net.CIDR": Type("net.CIDR"), "kubernetes.URL": Type("kubernetes.URL"),
    "kubernetes.Quantity": Type("kubernetes.Quantity"),
}  # fmt: skip
"""Types that stand for themselves as values: `type(x) == int`."""

_LITERALS: dict[type, Type] = {
    bool: types.BOOL, int: types.INT, UInt: types.UINT, float: types.DOUBLE, str: types.STRING,
    bytes: types.BYTES, type(None): types.NULL,
}  # fmt: skip
_PREDICATES = {"all": "_&&_", "exists": "_||_", "exists_one": "_?_:_", "filter": "_?_:_"}


@dataclass(slots=True)
class Checked:
    """What the checker found out. `names`: the variables that identifiers and paths mean.

    `constants` are names that mean a type; `functions` the overloads that fit a call, with
    `namespaced` for those whose target is part of the function's name.
    """

    root: Node
    types: dict[Node, Type] = field(default_factory=dict)
    names: dict[Node, str] = field(default_factory=dict)
    constants: dict[Node, TypeValue] = field(default_factory=dict)
    functions: dict[Node, Sequence[Overload]] = field(default_factory=dict)
    namespaced: set[Node] = field(default_factory=set)

    @property
    def result(self) -> Type:
        return self.types[self.root]


def check(
    root: Node,
    source: str,
    variables: Mapping[str, Type],
    structs: Mapping[str, Type],
    library: Library,
) -> Checked:
    """Raises CompileError with everything that is wrong."""
    checker = _Checker(variables, structs, library)
    checked = checker.checked = Checked(root)
    try:
        checker.visit(root)
    except RecursionError:
        raise CompileError([Issue(0, "expression recursion limit exceeded")], source) from None
    if checker.issues:
        raise CompileError(sorted(checker.issues, key=lambda i: i.position), source)
    return checked


class _Checker:
    checked: Checked

    def __init__(
        self, variables: Mapping[str, Type], structs: Mapping[str, Type], library: Library
    ) -> None:
        self.variables, self.structs, self.library = variables, structs, library
        self.locals: list[dict[str, Type]] = []
        self.issues: list[Issue] = []

    def fail(self, node: Node, message: str) -> Type:
        self.issues.append(Issue(node.position, message))
        return ERROR

    def visit(self, node: Node) -> Type:
        found = types.finished(self._visit(node))
        self.checked.types[node] = found
        return found

    def _visit(self, node: Node) -> Type:
        match node:
            case Constant():
                return _LITERALS[type(node.value)]
            case Ident():
                return self.ident(node)
            case Select():
                return self.select(node)
            case Call():
                return self.call(node)
            case ListNode():
                return self.list_(node)
            case MapNode():
                return self.struct(node) if node.type_name else self.map_(node)
            case Comprehension():
                return self.comprehension(node)
        raise AssertionError(node)

    # -- names -------------------------------------------------------------------------------

    def local(self, name: str) -> Type | None:
        return next((scope[name] for scope in reversed(self.locals) if name in scope), None)

    def ident(self, node: Ident) -> Type:
        name = node.name.removeprefix(".")
        found = self.local(name) if not node.name.startswith(".") else None
        if found is None:
            found = self.named(node, name)
        else:
            self.checked.names[node] = name
        if found is None:
            return self.fail(node, f"undeclared reference to '{name}' (in container '')")
        return found

    def named(self, node: Node, name: str) -> Type | None:
        """A variable or a type of that name."""
        if name in self.variables:
            self.checked.names[node] = name
            return self.variables[name]
        if name in BASIC_TYPES or name in self.structs:
            self.checked.constants[node] = TypeValue(name)
            return types.type_of(BASIC_TYPES.get(name) or self.structs[name])
        return None

    def path(self, node: Node) -> str:
        """The qualified name of a path that begins with no local variable."""
        name = qualified_name(node)
        outermost = name.startswith(".")
        name = name.removeprefix(".")
        if name and not outermost and self.local(name.partition(".")[0]) is not None:
            return ""
        return name

    def select(self, node: Select) -> Type:
        if not node.test and not node.optional:
            name = self.path(node)
            found = self.named(node, name) if "." in name else None
            if found is not None:
                return found
        operand = self.visit(node.operand)
        through = operand.name == "optional_type"
        found = self.field(node, operand.params[0] if through else operand)
        if node.test:
            return BOOL
        if (node.optional or through) and found.name != "optional_type":
            return types.optional_of(found)
        return found

    def field(self, node: Select, operand: Type) -> Type:
        if operand.is_dyn or operand == ERROR:
            return DYN
        if operand.name == "map":
            return operand.params[1]
        if operand.fields is None:
            return self.fail(node, f"type '{operand}' does not support field selection")
        found = operand.fields.get(node.field)
        return self.fail(node, f"undefined field '{node.field}'") if found is None else found

    # -- calls -------------------------------------------------------------------------------

    def call(self, node: Call) -> Type:
        if node.function in ("_&&_", "_||_"):
            return self.logical(node)
        if node.function == "_?_:_":
            return self.conditional(node)
        name = node.function.removeprefix(".")
        path = self.path(node.target) if node.target is not None else ""
        member = node.target is not None
        if path and self.library.overloads(f"{path}.{name}", member=False):
            self.checked.namespaced.add(node)
            name, member = f"{path}.{name}", False
        args = [self.visit(node.target)] if member and node.target is not None else []
        args += [self.visit(arg) for arg in node.args]
        if not self.library.knows(name):
            return self.fail(node, f"undeclared reference to '{name}' (in container '')")
        return self.resolve(node, name, member, args)

    def resolve(self, node: Call, name: str, member: bool, args: list[Type]) -> Type:
        if ERROR in args:
            return ERROR
        fitting: list[Overload] = []
        results: list[Type] = []
        for overload in self.library.overloads(name, member):
            bindings: types.Bindings = {}
            if len(overload.params) != len(args):
                continue
            pairs = zip(overload.params, args, strict=True)
            if all(types.assign(param, arg, bindings) for param, arg in pairs):
                fitting.append(overload)
                results.append(types.finished(types.substitute(overload.result, bindings)))
        if not fitting:
            return self.no_overload(node, name, args, member)
        self.checked.functions[node] = fitting
        return results[0] if all(result == results[0] for result in results) else DYN

    def no_overload(self, node: Node, name: str, args: list[Type], member: bool = False) -> Type:
        shown = ", ".join(map(str, args[1:] if member else args))
        applied = f"{args[0]}.({shown})" if member else f"({shown})"
        text = f"found no matching overload for '{name}' applied to '{applied}'"
        return self.fail(node, text)

    def logical(self, node: Call) -> Type:
        found = [self.visit(arg) for arg in node.args]
        for at, each in enumerate(found):
            if not types.assign(BOOL, each, {}):
                pair = [found[at - 1], each] if at else [each, found[1]]
                return self.no_overload(node, node.function, pair)
        return BOOL

    def conditional(self, node: Call) -> Type:
        test, chosen, other = (self.visit(arg) for arg in node.args)
        if ERROR in (test, chosen, other):
            return ERROR
        if not types.assign(BOOL, test, {}):
            return self.no_overload(node, "_?_:_", [test, chosen, other])
        result = types.join(chosen, other)
        if result.is_dyn and not chosen.is_dyn and not other.is_dyn:
            return self.no_overload(node, "_?_:_", [test, chosen, other])
        return result

    # -- literals ----------------------------------------------------------------------------

    def joined(self, found: list[Type]) -> Type:
        if not found:
            return DYN
        result = found[0]
        for each in found[1:]:
            result = types.join(result, each)
        return result

    def unwrapped(self, node: Node, found: Type) -> Type:
        """Of an item that may be absent."""
        if found.name == "optional_type":
            return found.params[0]
        if not found.is_dyn and found != ERROR:
            self.fail(node, f"expected type 'optional_type(A)' but found '{found}'")
        return DYN

    def list_(self, node: ListNode) -> Type:
        found = [self.visit(item) for item in node.items]
        for at in node.optional:
            found[at] = self.unwrapped(node.items[at], found[at])
        return types.list_of(self.joined(found), len(found))

    def map_(self, node: MapNode) -> Type:
        keys = [self.visit(entry.key) for entry in node.entries]
        found = [self.visit(entry.value) for entry in node.entries]
        for at, entry in enumerate(node.entries):
            if entry.optional:
                found[at] = self.unwrapped(entry.value, found[at])
            if keys[at].name not in ("string", "int", "uint", "bool", "dyn", "!error!"):
                self.fail(entry.key, f"unsupported map key type: {keys[at]}")
        return types.map_of(self.joined(keys), self.joined(found), len(found))

    def struct(self, node: MapNode) -> Type:
        name = node.type_name.removeprefix(".")
        declared = self.structs.get(name)
        if declared is None:
            return self.fail(node, f"undeclared reference to '{name}' (in container '')")
        for entry in node.entries:
            assert isinstance(entry.key, Constant)
            found = self.visit(entry.value)
            if entry.optional:
                found = self.unwrapped(entry.value, found)
            wanted = (declared.fields or {}).get(entry.key.value)
            if wanted is None:
                self.fail(entry.key, f"undefined field '{entry.key.value}'")
            elif not types.assign(wanted, found, {}):
                text = f"expected type of field '{entry.key.value}' is '{wanted}' but provided "
                self.fail(entry.value, f"{text}type is '{found}'")
        return declared

    # -- comprehensions ----------------------------------------------------------------------

    def comprehension(self, node: Comprehension) -> Type:
        over = self.visit(node.range)
        names = self.variables_of(node, over)
        self.locals.append(dict(zip(node.names, names, strict=True)))
        condition = self.visit(node.condition) if node.condition is not None else BOOL
        body = self.visit(node.body)
        self.locals.pop()
        if ERROR in (condition, body, over):
            return ERROR
        if not types.assign(BOOL, condition, {}):
            return self.no_overload(node, "_?_:_", [condition, body, body])
        return self.outcome(node, over, names, body)

    def variables_of(self, node: Comprehension, over: Type) -> list[Type]:
        count = len(node.names)
        if over.is_dyn or over == ERROR:
            return [DYN] * count
        if node.kind in ("optMap", "optFlatMap"):
            if over.name == "optional_type":
                return [over.params[0]]
            self.no_overload(node, node.kind, [over, DYN], member=True)
        elif over.name == "list":
            return [over.params[0]] if count == 1 else [INT, over.params[0]]
        elif over.name == "map":
            return list(over.params[:count])
        else:
            text = (
                f"expression of type '{over}' cannot be range of a comprehension (must be list, "
                "map, or dynamic)"
            )
            self.fail(node.range, text)
        return [ERROR] * count

    def outcome(self, node: Comprehension, over: Type, names: list[Type], body: Type) -> Type:
        kind = node.kind
        if kind in _PREDICATES and not types.assign(BOOL, body, {}):
            return self.no_overload(node, _PREDICATES[kind], [BOOL, body])
        results: dict[str, Any] = {
            "map": lambda: types.list_of(body, over.max_size),
            "filter": lambda: types.list_of(names[0], over.max_size),
            "transformList": lambda: types.list_of(body, over.max_size),
            "transformMap": lambda: types.map_of(names[0], body, over.max_size),
            "transformMapEntry": lambda: self.entries(node, body, over),
            "optMap": lambda: types.optional_of(body),
            "optFlatMap": lambda: self.flat(node, body),
        }
        made = results.get(kind)
        found: Type = made() if made else BOOL
        return found

    def entries(self, node: Comprehension, body: Type, over: Type) -> Type:
        if body.name == "map":
            return types.map_of(body.params[0], body.params[1], over.max_size)
        return DYN if body.is_dyn else self.no_overload(node, "cel.@mapInsert", [DYN, body])

    def flat(self, node: Comprehension, body: Type) -> Type:
        if body.name == "optional_type" or body.is_dyn:
            return body
        return self.no_overload(node, "_?_:_", [BOOL, body, types.optional_of(DYN)])
