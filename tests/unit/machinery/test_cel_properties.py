"""CEL beyond examples: Google's own implementation as the oracle, and input that makes no sense."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.machinery.cel import CelError, Environment, Meter, ast, parser, types
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
from cluster.machinery.cel.estimate import estimate
from cluster.machinery.cel.library.strings import quote
from cluster.machinery.cel.values import UInt

oracle = pytest.importorskip("cel_expr_python.cel", reason="cel-expr-python is not installed")

ENV = Environment({"x": types.INT, "t": types.STRING, "l": types.list_of(types.INT),
                   "d": types.DYN, "self": types.object_type("T", {"a": types.INT})})  # fmt: skip
VALUES: dict[str, Any] = {"x": 7, "t": "text", "l": [3, 1, 2], "d": {"k": 1}, "self": {"a": 1}}
ORACLE = oracle.NewEnv(
    variables={"x": oracle.Type.INT, "t": oracle.Type.STRING,
               "l": oracle.Type.List(oracle.Type.INT)}
)  # fmt: skip

INTS = st.sampled_from(
    ["0", "1", "-1", "2", "7", "x", "9223372036854775807", "-9223372036854775808", "l[0]", "l[5]"]
)
TEXTS = st.sampled_from(["''", "'a'", "t", "'é'", "'ab' + t", "string(x)"])


def ints(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(inner, st.sampled_from("+-*/%"), inner)
    return pairs.map(lambda p: f"({p[0]} {p[1]} {p[2]})")


INT = st.recursive(INTS, ints, max_leaves=6) | TEXTS.map(lambda t: f"size({t})")
COMPARED = st.tuples(INT, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), INT).map(
    lambda p: f"{p[0]} {p[1]} {p[2]}"
)
TEXT_TESTS = st.tuples(TEXTS, st.sampled_from(["contains", "startsWith", "endsWith"]), TEXTS).map(
    lambda p: f"({p[0]}).{p[1]}({p[2]})"
)
LOOPS = st.tuples(st.sampled_from(["all", "exists", "exists_one"]), INT).map(
    lambda p: f"l.{p[0]}(i, i < {p[1]})"
)
BOOL = st.recursive(
    COMPARED | TEXT_TESTS | LOOPS | st.sampled_from(["true", "false", "1 / 0 == 1"]),
    lambda inner: (
        st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(
            lambda p: f"({p[0]} {p[1]} {p[2]})"
        )
        | inner.map(lambda b: f"!({b})")
    ),
    max_leaves=6,
)
LIST = st.sampled_from(["l.map(i, i * x)", "l.filter(i, i > 1)", "l + [x]", "[]"])
ANY = (
    INT | BOOL | LIST | TEXTS | st.tuples(BOOL, INT, INT).map(lambda p: f"{p[0]} ? {p[1]} : {p[2]}")
)


@given(ANY)
@settings(max_examples=600, deadline=None)
def test_values_and_failures_are_those_of_googles_implementation(source: str) -> None:
    theirs: Any
    try:
        found = ORACLE.compile(source).eval(data={k: VALUES[k] for k in ("x", "t", "l")})
        theirs = "error" if found.type() == oracle.Type.ERROR else found.plain_value()
    except Exception:
        theirs = "error"
    try:
        ours = ENV.compile(source).evaluate(VALUES, Meter(1e7))
    except CelError:
        ours = "error"
    assert ours == theirs
    assert isinstance(ours, bool) == isinstance(theirs, bool)


@given(st.text(max_size=60))
@settings(max_examples=500, deadline=None)
def test_any_text_is_an_expression_or_a_cel_error(source: str) -> None:
    run(source)


SOUP = st.lists(
    st.sampled_from(
        ["(", ")", "[", "]", "{", "}", ".", "?", ":", ",", "+", "-", "*", "/", "%", "!", "&&", "||",
         "==", "<", "in", "x", "d", "self", "has", "all", "map", "size", "'s'", "b'b'", "1", "2u",
         "1.5", "true", "null", "optional", "of", "self.a", "d.k", "[1]", "{'a': 1}", "(x)",
         ".map(i,", ".all(j,", "timestamp('2020-01-01T00:00:00Z')", "duration('1s')", "dyn(", "%s",
         "'%d'.format([", "quantity('1')", "matches(", "type(", "-9223372036854775808"]
    ),
    max_size=16,
).map(" ".join)  # fmt: skip


@given(SOUP)
@settings(max_examples=2000, deadline=None)
def test_any_heap_of_tokens_is_an_expression_or_a_cel_error(source: str) -> None:
    run(source)


def run(source: str) -> None:
    with contextlib.suppress(CelError):
        program = ENV.compile(source)
        estimate(program.checked)
        program.evaluate(VALUES, Meter(100_000))


# -- written and read again ----------------------------------------------------------------------

NAMES = st.sampled_from(["x", "t", "d", "i", "size", "foo_1"])
CONSTANTS: st.SearchStrategy[Any] = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**64 - 1).map(UInt),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(blacklist_categories=["Cs"]), max_size=8),
    st.binary(max_size=8),
    st.booleans(),
    st.none(),
)
LEAVES: st.SearchStrategy[Node] = CONSTANTS.map(lambda v: Constant(0, v)) | NAMES.map(
    lambda n: Ident(0, n)
)
OPERATORS = {name: text for text, (_, name) in parser.OPERATORS.items()}


def nodes(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    pair = st.tuples(inner, inner)
    return st.one_of(
        st.tuples(st.sampled_from(sorted(OPERATORS)), pair).map(lambda p: Call(0, p[0], p[1])),
        st.tuples(inner, inner, inner).map(lambda p: Call(0, "_?_:_", p)),
        st.tuples(inner, NAMES, st.booleans()).map(lambda p: Select(0, p[0], p[1], optional=p[2])),
        st.tuples(inner, NAMES).map(lambda p: Select(0, p[0], p[1], test=True)),
        pair.map(lambda p: Call(0, "_[_]", p)),
        pair.map(lambda p: Call(0, "_[?_]", p)),
        st.lists(inner, max_size=3).map(lambda i: ListNode(0, tuple(i))),
        st.lists(pair, max_size=2).map(
            lambda e: MapNode(0, tuple(ast.Entry(k, v, False) for k, v in e))
        ),
        st.tuples(inner, st.lists(inner, max_size=2)).map(
            lambda p: Call(0, "method", tuple(p[1]), p[0])
        ),
        st.tuples(st.sampled_from(["all", "exists", "filter", "map"]), inner, inner).map(
            lambda p: Comprehension(0, p[0], p[1], ("i",), p[2])  # type: ignore[arg-type]
        ),
    )


TREES = st.recursive(LEAVES, nodes, max_leaves=12)


@given(TREES)
@settings(max_examples=800, deadline=None)
def test_a_tree_that_is_written_down_is_read_again(tree: Node) -> None:
    assert shape(parser.parse(written(tree))) == shape(tree)


def written(node: Node) -> str:
    match node:
        case Constant():
            return f"({literal(node.value)})"
        case Ident():
            return node.name
        case Select(test=True):
            return f"has(({written(node.operand)}).{node.field})"
        case Select():
            return f"({written(node.operand)}).{'?' if node.optional else ''}{node.field}"
        case ListNode():
            return f"[{', '.join(map(written, node.items))}]"
        case MapNode():
            pairs = [f"{written(e.key)}: {written(e.value)}" for e in node.entries]
            return "{" + ", ".join(pairs) + "}"
        case Comprehension():
            return f"({written(node.range)}).{node.kind}({node.names[0]}, {written(node.body)})"
        case Call():
            return call(node)
    raise AssertionError(node)


def call(node: Call) -> str:
    args = [f"({written(arg)})" for arg in node.args]
    if node.function in OPERATORS:
        return f" {OPERATORS[node.function]} ".join(args)
    if node.function == "_?_:_":
        return f"{args[0]} ? {args[1]} : {args[2]}"
    if node.function in ("_[_]", "_[?_]"):
        return f"{args[0]}[{'?' if '?' in node.function else ''}{args[1]}]"
    target = f"({written(node.target)})." if node.target is not None else ""
    return f"{target}{node.function}({', '.join(args)})"


def literal(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, UInt):
        return f"{int(value)}u"
    if isinstance(value, bytes):
        return 'b"' + "".join(f"\\x{byte:02x}" for byte in value) + '"'
    if isinstance(value, str):
        return quote(value).replace("\0", "\\x00")
    if isinstance(value, float):
        return repr(value) if math.copysign(1, value) > 0 or value else "-0.0"
    return str(value)


def shape(node: Node) -> Any:
    """A tree without its places; chains of && and || are as long as they are written."""
    match node:
        case Constant():
            return type(node.value).__name__, repr(node.value)
        case Ident():
            return node.name
        case Select():
            return node.field, node.test, node.optional, shape(node.operand)
        case Comprehension():
            return node.kind, node.names, shape(node.range), shape(node.body)
        case Call(function="_&&_" | "_||_"):
            first, *rest = map(shape, node.args)
            same = isinstance(first, tuple) and first[0] == node.function
            return (*first, *rest) if same else (node.function, first, *rest)
        case Call():
            target = shape(node.target) if node.target is not None else None
            return node.function, target, *map(shape, node.args)
    return type(node).__name__, *map(shape, node.children())
