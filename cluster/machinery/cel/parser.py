"""From tokens to a syntax tree, by precedence (the language definition's grammar)."""

from __future__ import annotations

from collections.abc import Callable

from cluster.machinery.cel import ast, lexer, macros
from cluster.machinery.cel.ast import Call, Constant, Entry, Ident, ListNode, MapNode, Node, Select
from cluster.machinery.cel.errors import CompileError, Issue
from cluster.machinery.cel.lexer import Token

OPERATORS = {
    "||": (1, "_||_"), "&&": (2, "_&&_"),
    "<": (3, "_<_"), "<=": (3, "_<=_"), ">": (3, "_>_"), ">=": (3, "_>=_"),
    "==": (3, "_==_"), "!=": (3, "_!=_"), "in": (3, "@in"),
    "+": (4, "_+_"), "-": (4, "_-_"),
    "*": (5, "_*_"), "/": (5, "_/_"), "%": (5, "_%_"),
}  # fmt: skip
RESERVED = frozenset(
    ("as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop",
     "package", "namespace", "return", "var", "void", "while")
)  # fmt: skip
LITERALS = {"true": True, "false": False, "null": None}
STARTS = (
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, "
    "BYTES, IDENTIFIER}"
)
MAX_NESTED = 60
"""Brackets in brackets; the parser recurses a few frames for each."""


def parse(source: str) -> Node:
    """The tree of an expression. Raises CompileError."""
    try:
        node = _Parser(source).whole()
    except RecursionError:
        raise _too_deep(source) from None
    if ast.depth(node) > ast.MAX_DEPTH:
        raise _too_deep(source)
    return node


def _too_deep(source: str) -> CompileError:
    return CompileError([Issue(0, f"expression recursion limit exceeded: {ast.MAX_DEPTH}")], source)


class _Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.tokens = lexer.tokens(source)
        self.at = 0
        self.nested = 0

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def take(self) -> Token:
        token = self.token
        self.at += 1
        return token

    def accept(self, kind: str) -> bool:
        if self.token.kind != kind:
            return False
        self.at += 1
        return True

    def expect(self, kind: str) -> Token:
        if self.token.kind != kind:
            shown = "IDENTIFIER" if kind == "ident" else f"'{kind}'"
            raise self.fail(f"missing {shown} at '{self.token.text}'")
        return self.take()

    def fail(self, message: str, token: Token | None = None) -> CompileError:
        place = (token or self.token).position
        return CompileError([Issue(place, f"Syntax error: {message}")], self.source)

    def whole(self) -> Node:
        node = self.expression()
        if self.token.kind != "end":
            raise self.fail(f"extraneous input '{self.token.text}' expecting <EOF>")
        return node

    def expression(self) -> Node:
        """Or a condition, and the two branches that it chooses from."""
        self.nested += 1
        if self.nested > MAX_NESTED:
            raise _too_deep(self.source)
        node = self.binary(1)
        if self.token.kind == "?":
            place = self.take().position
            chosen = self.binary(1)
            self.expect(":")
            node = Call(place, "_?_:_", (node, chosen, self.expression()))
        self.nested -= 1
        return node

    def binary(self, least: int) -> Node:
        left = self.unary()
        while True:
            name = self.token.text if self.token.kind != "constant" else ""
            found = OPERATORS.get(name)
            if found is None or found[0] < least:
                return left
            token = self.take()
            right = self.binary(found[0] + 1)
            left = _joined(token.position, found[1], left, right)

    def unary(self) -> Node:
        if self.token.kind not in ("!", "-"):
            return self.member()
        first = self.token
        count = 0
        while self.token.kind == first.kind:
            self.take()
            count += 1
        if first.kind == "-" and self._number():
            return self.negative(first, count)
        node = self.member()
        name = "!_" if first.kind == "!" else "-_"
        return Call(first.position, name, (node,)) if count % 2 else node

    def _number(self) -> bool:
        return self.token.kind == "constant" and type(self.token.value) in (int, float)

    def negative(self, first: Token, count: int) -> Node:
        """A minus belongs to the number behind it: -9223372036854775808 is an int."""
        token = self.take()
        value = -token.value
        if type(value) is int:
            lexer.check_int(self.source, token.position, value)
        node = self.members(Constant(first.position, value))
        return Call(first.position, "-_", (node,)) if count % 2 == 0 else node

    def member(self) -> Node:
        return self.members(self.primary())

    def members(self, node: Node) -> Node:
        while True:
            if self.token.kind == ".":
                node = self.select(node)
            elif self.token.kind == "[":
                place = self.take().position
                optional = self.accept("?")
                index = self.expression()
                self.expect("]")
                node = Call(place, "_[?_]" if optional else "_[_]", (node, index))
            elif self.token.kind == "{" and _qualified(node):
                node = self.struct(node)
            else:
                return node

    def select(self, node: Node) -> Node:
        place = self.take().position
        optional = self.accept("?")
        token = self.expect("ident")
        if token.text in LITERALS or token.text == "in":
            raise self.fail(f"mismatched input '{token.text}' expecting IDENTIFIER", token)
        if self.token.kind != "(" or optional:
            return Select(place, node, token.text, optional=optional)
        place = self.take().position
        return self.call(place, token.text, node)

    def call(self, place: int, name: str, target: Node | None) -> Node:
        args = self.sequence(")", self.expression)
        made = macros.expand(place, name, target, args, self.source)
        return made if made is not None else Call(place, name, tuple(args), target)

    def sequence(self, end: str, item: Callable[[], Node]) -> list[Node]:
        found: list[Node] = []
        if self.accept(end):
            return found
        while True:
            found.append(item())
            if not self.accept(","):
                self.expect(end)
                return found

    def primary(self) -> Node:
        token = self.take()
        if token.kind == "constant":
            if type(token.value) is int:
                lexer.check_int(self.source, token.position, token.value)
            return Constant(token.position, token.value)
        if token.kind == "(":
            node = self.expression()
            self.expect(")")
            return node
        if token.kind == "[":
            return self.list_(token.position)
        if token.kind == "{":
            return self.map_(token.position)
        if token.kind in ("ident", "."):
            return self.name(token)
        self.at -= 1
        raise self.fail(f"mismatched input '{token.text}' expecting {STARTS}", token)

    def name(self, token: Token) -> Node:
        """An identifier or a call; a dot in front means the outermost of that name."""
        prefix = ""
        if token.kind == ".":
            prefix, token = ".", self.expect("ident")
        if token.text in LITERALS and not prefix:
            return Constant(token.position, LITERALS[token.text])
        if token.text in RESERVED:
            raise CompileError([Issue(token.position, f"reserved identifier: {token.text}")],
                               self.source)  # fmt: skip
        if token.text in LITERALS or token.text == "in":
            raise self.fail(f"mismatched input '{token.text}' expecting {STARTS}", token)
        if self.token.kind == "(":
            place = self.take().position
            return self.call(place, prefix + token.text, None)
        return Ident(token.position, prefix + token.text)

    def list_(self, place: int) -> Node:
        items: list[Node] = []
        optional: set[int] = set()
        while not self.accept("]"):
            if self.accept("?"):
                optional.add(len(items))
            items.append(self.expression())
            if not self.accept(","):
                self.expect("]")
                break
        return ListNode(place, tuple(items), frozenset(optional))

    def map_(self, place: int) -> Node:
        entries: list[Entry] = []
        while not self.accept("}"):
            optional = self.accept("?")
            key = self.expression()
            self.expect(":")
            entries.append(Entry(key, self.expression(), optional))
            if not self.accept(","):
                self.expect("}")
                break
        return MapNode(place, tuple(entries))

    def struct(self, node: Node) -> Node:
        place = self.take().position
        entries: list[Entry] = []
        while not self.accept("}"):
            optional = self.accept("?")
            field = self.expect("ident")
            self.expect(":")
            key = Constant(field.position, field.text)
            entries.append(Entry(key, self.expression(), optional))
            if not self.accept(","):
                self.expect("}")
                break
        return MapNode(place, tuple(entries), qualified_name(node))


def _joined(place: int, name: str, left: Node, right: Node) -> Node:
    """`a && b && c` is one call of three arguments."""
    if name in ("_&&_", "_||_") and isinstance(left, Call) and left.function == name:
        return Call(left.position, name, (*left.args, right))
    return Call(place, name, (left, right))


def _qualified(node: Node) -> bool:
    if isinstance(node, Select):
        return not node.test and not node.optional and _qualified(node.operand)
    return isinstance(node, Ident)


def qualified_name(node: Node) -> str:
    """`a.b.c` of identifiers and selections; "" of anything else."""
    parts: list[str] = []
    while isinstance(node, Select) and not node.test and not node.optional:
        parts.append(node.field)
        node = node.operand
    if not isinstance(node, Ident):
        return ""
    return ".".join([node.name, *reversed(parts)])
