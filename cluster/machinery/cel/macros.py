"""Macros: has, and those that run over lists and maps (standard, two-variable, optionals)."""

from __future__ import annotations

from cluster.machinery.cel.ast import Comprehension, Ident, Kind, Node, Select
from cluster.machinery.cel.errors import CompileError, Issue

_KINDS: dict[tuple[str, int], tuple[Kind, int, bool]] = {
    ("all", 2): ("all", 1, False),
    ("exists", 2): ("exists", 1, False),
    ("exists_one", 2): ("exists_one", 1, False),
    ("existsOne", 2): ("exists_one", 1, False),
    ("filter", 2): ("filter", 1, False),
    ("map", 2): ("map", 1, False),
    ("map", 3): ("map", 1, True),
    ("all", 3): ("all", 2, False),
    ("exists", 3): ("exists", 2, False),
    ("exists_one", 3): ("exists_one", 2, False),
    ("existsOne", 3): ("exists_one", 2, False),
    ("transformList", 3): ("transformList", 2, False),
    ("transformList", 4): ("transformList", 2, True),
    ("transformMap", 3): ("transformMap", 2, False),
    ("transformMap", 4): ("transformMap", 2, True),
    ("transformMapEntry", 3): ("transformMapEntry", 2, False),
    ("transformMapEntry", 4): ("transformMapEntry", 2, True),
    ("optMap", 2): ("optMap", 1, False),
    ("optFlatMap", 2): ("optFlatMap", 1, False),
}
"""By name and number of arguments: the kind, its variables, and whether a condition follows."""


def expand(
    place: int, name: str, target: Node | None, args: list[Node], source: str
) -> Node | None:
    """What a call stands for if it is a macro; None if it is not."""
    if target is None:
        return _has(place, args, source) if (name, len(args)) == ("has", 1) else None
    found = _KINDS.get((name, len(args)))
    if found is None:
        return None
    kind, count, conditional = found
    names = tuple(_name(arg, source) for arg in args[:count])
    if len(set(names)) != len(names):
        text = f"duplicate variable name: {names[0]}"
        raise CompileError([Issue(args[1].position, text)], source)
    condition = args[count] if conditional else None
    return Comprehension(place, kind, target, names, args[-1], condition)


def _has(place: int, args: list[Node], source: str) -> Node:
    field = args[0]
    if not isinstance(field, Select) or field.test:
        raise CompileError([Issue(place, "invalid argument to has() macro")], source)
    return Select(place, field.operand, field.field, test=True, optional=field.optional)


def _name(arg: Node, source: str) -> str:
    if not isinstance(arg, Ident) or arg.name.startswith("."):
        raise CompileError([Issue(arg.position, "argument must be a simple name")], source)
    if arg.name == "__result__":
        text = "iteration variable overwrites accumulator variable"
        raise CompileError([Issue(arg.position, text)], source)
    return arg.name
