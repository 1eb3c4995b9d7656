"""CEL as its specification has it: a table of expressions and what they are worth."""

from __future__ import annotations

import math
from typing import Any

import pytest

from cluster.machinery.cel import (
    CompileError,
    CostExceeded,
    Environment,
    EvaluationError,
    Meter,
    types,
)
from cluster.machinery.cel.library import authorizer
from cluster.machinery.cel.program import Lazy
from cluster.machinery.cel.values import Duration, OptionalValue, Timestamp, TypeValue, UInt

THING = types.object_type(
    "Thing",
    {"name": types.STRING, "count": types.INT, "tags": types.list_of(types.STRING),
     "labels": types.map_of(types.STRING, types.STRING)},
)  # fmt: skip
ENV = Environment({"x": types.INT, "d": types.DYN, "self": THING, "a.b": types.STRING})
VALUES: dict[str, Any] = {
    "x": 7,
    "d": {"n": 1, "none": None},
    "self": {"name": "web", "count": 3, "tags": ["a", "b"], "labels": {"k": "v"}},
    "a.b": "qualified",
}


def value(source: str) -> Any:
    return ENV.compile(source).evaluate(VALUES)


TRUE = r"""
1 + 2 * 3 == 7
(1 + 2) * 3 == 9
7 / 2 == 3 && -7 / 2 == -3 && 7 % 4 == 3 && -7 % 4 == -3
1u + 2u == 3u
1.5 + 1.5 == 3.0
5.0 / 2.0 == 2.5
-(-5) == 5
- -5 == 5
!!true
!false && !!!false
0x1F == 31
1e3 == 1000.0
.5 == 0.5
"a" + 'b' == "ab"
r"\n" == "\\n"
"\x41\u0042\103" == "ABC"
'''multi
line''' == "multi\nline"
b"abc" == b'\x61\x62\x63'
b"\303\277" == bytes("ÿ")
[1, 2] + [3] == [1, 2, 3]
{"a": 1}["a"] == 1
{"a": 1}.a == 1
{1: "x", 2u: "y"}[1] == "x"
{true: 1, 1: 2}[true] == 1
[10, 20][1] == 20
2 in [1, 2, 3] && !(4 in [1, 2, 3])
"k" in {"k": 1} && !("z" in {"k": 1})
dyn(1) == 1.0 && dyn(1u) == 1
dyn("1") != 1
dyn(true) != 1
[1, 2] == [1, 2] && [1] != [2]
{"a": [1]} == {"a": [1]}
null == null
dyn(null) != 0
1 < 2 && 2u > 1u && 1.5 <= 1.5 && "a" < "b" && b"a" < b"b" && false < true
1 < 1.5 && 2u > 1.5 && 1 < 2u
true ? 1 == 1 : 1 / 0 == 1
false || true
true || 1 / 0 == 1
1 / 0 == 1 || true
false && 1 / 0 == 1 ? false : true
!(1 / 0 == 1 && false)
has(self.name) && !has({"a": 1}.b) && has(d.none)
[1, 2, 3].all(i, i > 0) && ![1, 2].all(i, i > 1)
[].all(i, i > 0) && ![].exists(i, i > 0)
[1, 2, 3].exists(i, i == 2)
[0, 1].exists(i, 1 / i == 1)
![0, 1].all(i, 2 / i == 3)
[1, 2, 3].exists_one(i, i > 2) && ![1, 2, 3].exists_one(i, i > 1)
[1, 2, 3].map(i, i * 2) == [2, 4, 6]
[1, 2, 3].map(i, i > 1, i * 2) == [4, 6]
[1, 2, 3].filter(i, i % 2 == 1) == [1, 3]
{"a": 1, "b": 2}.all(k, k in ["a", "b"])
{"a": 1}.map(k, k) == ["a"]
[1, 2].all(i, [3, 4].all(j, i < j))
[1].all(x, x == 1) && x == 7
[5, 6].all(i, v, v == i + 5)
{"a": 1, "b": 2}.exists(k, v, k == "b" && v == 2)
["a", "b"].transformList(i, v, v + string(i)) == ["a0", "b1"]
{"a": 1, "b": 2}.transformMap(k, v, v > 1, v * 10) == {"b": 20}
["x", "y"].transformMapEntry(i, v, {v: i}) == {"x": 0, "y": 1}
size("héllo") == 5 && "héllo".size() == 5 && size(b"hé") == 3 && size([1]) == 1 && size({}) == 0
"hello".contains("ell") && "hello".startsWith("he") && "hello".endsWith("lo")
"hello".matches("^h.*o$") && matches("abc", "b") && !"abc".matches("^b")
int("42") == 42 && int(3.9) == 3 && int(-3.9) == -3 && int(5u) == 5 && int("-7") == -7
uint(5) == 5u && uint("6") == 6u && uint(2.9) == 2u
double(1) == 1.0 && double("1.5") == 1.5 && double("-inf") < 0.0
string(1) == "1" && string(1.5) == "1.5" && string(true) == "true" && string(b"ab") == "ab"
string(1e21) == "1e+21" && string(100.0) == "100"
bytes("é") == b"\xc3\xa9"
bool("true") && !bool("F")
type(1) == int && type("") == string && type([]) == list && type({}) == map && type(1u) == uint
type(type(1)) == type && type(null) == null_type && type(1.0) == double
timestamp("2023-05-28T00:00:00Z") < timestamp("2023-05-28T00:00:00.001Z")
timestamp("2023-05-28T02:00:00+02:00") == timestamp("2023-05-28T00:00:00Z")
timestamp("2023-12-25T12:34:56.789Z").getFullYear() == 2023
timestamp("2023-12-25T12:34:56.789Z").getMonth() == 11
timestamp("2023-12-25T12:34:56.789Z").getDate() == 25
timestamp("2023-12-25T12:34:56.789Z").getDayOfMonth() == 24
timestamp("2023-12-25T12:34:56.789Z").getDayOfWeek() == 1
timestamp("2023-12-25T12:34:56.789Z").getDayOfYear() == 358
timestamp("2023-12-25T12:34:56.789Z").getHours() == 12
timestamp("2023-12-25T12:34:56.789Z").getMinutes() == 34
timestamp("2023-12-25T12:34:56.789Z").getSeconds() == 56
timestamp("2023-12-25T12:34:56.789Z").getMilliseconds() == 789
timestamp("2023-12-25T12:00:00Z").getHours("America/Los_Angeles") == 4
timestamp("2023-12-25T23:00:00Z").getDate("+02:00") == 26
int(timestamp("1970-01-01T00:01:00Z")) == 60 && timestamp(60) == timestamp("1970-01-01T00:01:00Z")
duration("1h30m") == duration("90m") && duration("1.5s") == duration("1500ms")
duration("90m").getHours() == 1 && duration("90m").getMinutes() == 90
timestamp("2023-01-01T00:00:00Z") + duration("24h") == timestamp("2023-01-02T00:00:00Z")
timestamp("2023-01-02T00:00:00Z") - timestamp("2023-01-01T00:00:00Z") == duration("24h")
string(duration("1h")) == "3600s"
string(timestamp("2023-01-01T00:00:00Z")) == "2023-01-01T00:00:00Z"
a.b == "qualified"
.x == 7
self.tags[1] == "b" && self.labels["k"] == "v" && self.labels.k == "v"
optional.of(1).hasValue() && !optional.none().hasValue()
{"a": 1}.?a.orValue(2) == 1 && {"a": 1}.?b.orValue(2) == 2
{"a": {"b": 1}}.?a.b.orValue(0) == 1 && {"a": {"b": 1}}.?z.b.orValue(5) == 5
[1, 2][?1].value() == 2 && ![1][?7].hasValue()
optional.of(2).optMap(v, v * 2).value() == 4
optional.of(2).optFlatMap(v, optional.none()).orValue(9) == 9
optional.none().or(optional.of(3)).value() == 3
[1, ?optional.none(), ?optional.of(3)] == [1, 3]
{?"a": optional.of(1), ?"b": optional.none()} == {"a": 1}
optional.ofNonZeroValue("") == optional.none() && optional.ofNonZeroValue("a").value() == "a"
// a comment
true // another
"""

FALSE = """
1 == 2
double("NaN") == double("NaN")
"a" == "A"
[1, 2] == [2, 1]
"""


def expressions(text: str) -> list[str]:
    found: list[str] = []
    for line in text.strip().split("\n"):
        if found and (found[-1].startswith("//") or found[-1].count("'''") == 1):
            found[-1] += "\n" + line
        else:
            found.append(line)
    return found


@pytest.mark.parametrize("source", expressions(TRUE))
def test_it_is_true(source: str) -> None:
    assert value(source) is True


@pytest.mark.parametrize("source", expressions(FALSE))
def test_it_is_false(source: str) -> None:
    assert value(source) is False


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("-9223372036854775808", -(2**63)),
        ("18446744073709551615u", UInt(2**64 - 1)),
        ("1.0 / 0.0", math.inf),
        ("timestamp('1970-01-01T00:00:01.5Z')", Timestamp(1_500_000_000)),
        ("duration('-1m')", Duration(-60 * 10**9)),
        ("type(duration('1s'))", TypeValue("google.protobuf.Duration")),
        ("optional.of('x')", OptionalValue("x", True)),
    ],
)
def test_it_has_this_value(source: str, wanted: Any) -> None:
    found = value(source)
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("9223372036854775807 + 1", "integer overflow"),
        ("-9223372036854775808 - 1", "integer overflow"),
        ("-(-9223372036854775808)", "integer overflow"),
        ("9223372036854775807 * 2", "integer overflow"),
        ("-9223372036854775808 / -1", "integer overflow"),
        ("0u - 1u", "unsigned integer overflow"),
        ("uint(-1)", "unsigned integer overflow"),
        ("int(1e19)", "integer overflow"),
        ("int(18446744073709551615u)", "integer overflow"),
        ("1 / 0", "division by zero"),
        ("1 % 0", "modulus by zero"),
        ("1u % 0u", "modulus by zero"),
        ("-9223372036854775808 % -1", "integer overflow"),
        ("[1][1]", "index out of bounds: 1"),
        ("[1][-1]", "index out of bounds: -1"),
        ('{"a": 1}["b"]', "no such key: b"),
        ('{"a": 1}.b', "no such key: b"),
        ("d.x", "no such key: x"),
        ("d + 1", "no such overload"),
        ("dyn(1) < dyn('a')", "no such overload"),
        ('{"a": 1, "a": 2}', "Failed with repeated key: a"),
        ('int("1x")', 'type conversion error from "1x" to int'),
        ('timestamp("never")', 'type conversion error from "never" to timestamp'),
        ('duration("1 hour")', 'type conversion error from "1 hour" to duration'),
        ('timestamp("9999-12-31T23:59:59Z") + duration("1s")', "timestamp overflow"),
        ("duration('2562047h') + duration('1h')", "duration overflow"),
        ('string(b"\\xff")', "invalid UTF-8 in bytes, cannot convert to string"),
        ("optional.none().value()", "optional.none() dereference"),
        ("[1, 2].map(i, 1 / (i - 1))", "division by zero"),
        ('"a".matches("a(")', "error parsing regexp: missing ): a("),
        ("timestamp(0).getHours('Mars')", "unknown time zone Mars"),
    ],
)
def test_there_is_no_value(source: str, said: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        value(source)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("y", "ERROR: <input>:1:1: undeclared reference to 'y' (in container '')\n | y\n | ^"),
        ("x.f", "ERROR: <input>:1:2: type 'int' does not support field selection\n | x.f\n | .^"),
        ("self.nme", "ERROR: <input>:1:5: undefined field 'nme'\n | self.nme\n | ....^"),
        (
            "x +\n'a'",
            "ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'"
            "\n | x +\n | ..^",
        ),
        (
            "x.size()",
            "ERROR: <input>:1:7: found no matching overload for 'size' applied to 'int.()'"
            "\n | x.size()\n | ......^",
        ),
        (
            "true ? 1 : 'a'",
            "ERROR: <input>:1:6: found no matching overload for '_?_:_' applied to "
            "'(bool, int, string)'\n | true ? 1 : 'a'\n | .....^",
        ),
        (
            "1 == 'a'",
            "ERROR: <input>:1:3: found no matching overload for '_==_' applied to '(int, string)'"
            "\n | 1 == 'a'\n | ..^",
        ),
        (
            "x.all(i, true)",
            "ERROR: <input>:1:1: expression of type 'int' cannot be range of a comprehension (must "
            "be list, map, or dynamic)\n | x.all(i, true)\n | ^",
        ),
        ("if", "ERROR: <input>:1:1: reserved identifier: if\n | if\n | ^"),
        ("[1].all(x.y, true)", "ERROR: <input>:1:10: argument must be a simple name\n"
         " | [1].all(x.y, true)\n | .........^"),
        ("has(x)", "ERROR: <input>:1:4: invalid argument to has() macro\n | has(x)\n | ...^"),
        ("9223372036854775808", "ERROR: <input>:1:1: invalid int literal\n"
         " | 9223372036854775808\n | ^"),
        ("'abc", "ERROR: <input>:1:1: Syntax error: token recognition error at: ''abc'\n"
         " | 'abc\n | ^"),
        ("1 2", "ERROR: <input>:1:3: Syntax error: extraneous input '2' expecting <EOF>\n"
         " | 1 2\n | ..^"),
        ("(1", "ERROR: <input>:1:3: Syntax error: missing ')' at '<EOF>'\n | (1\n | ..^"),
        ('"\\q"', 'ERROR: <input>:1:1: unable to unescape string\n | "\\q"\n | ^'),
    ],
)  # fmt: skip
def test_the_compiler_says_what_is_wrong_and_where(source: str, said: str) -> None:
    with pytest.raises(CompileError) as caught:
        ENV.compile(source)
    assert str(caught.value) == said


def test_every_mistake_of_an_expression_is_told_at_once() -> None:
    with pytest.raises(CompileError) as caught:
        ENV.compile("y + z > self.nope")
    assert len(caught.value.issues) == 3


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("[1, 2]", "list(int)"),
        ("[1, 'a']", "list(dyn)"),
        ("{'a': 1}", "map(string, int)"),
        ("self.labels.map(k, size(k))", "list(int)"),
        ("[]", "list(dyn)"),
        ("optional.of(1)", "optional_type(int)"),
        ("timestamp(1) - timestamp(0)", "duration"),
        ("type(1)", "type(int)"),
        ("d.anything", "dyn"),
    ],
)
def test_types_are_known_before_anything_runs(source: str, shown: str) -> None:
    assert str(ENV.compile(source).result_type) == shown


def test_deep_nesting_is_refused_and_long_chains_are_not() -> None:
    with pytest.raises(CompileError, match="expression recursion limit exceeded"):
        ENV.compile("(" * 500 + "1" + ")" * 500)
    with pytest.raises(CompileError, match="expression recursion limit exceeded"):
        ENV.compile("[" * 500)
    assert value(" && ".join(["true"] * 5000)) is True
    assert value("+".join(["1"] * 150)) == 150


TEN = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"
LONG = "a" * 9000
HOSTILE = {
    "loops in loops": "".join(f"{TEN}.all(v{n}, " for n in range(6)) + "true" + ")" * 6,
    "a text that doubles": "['xxxxxxxx']" + ".map(s, s + s)" * 60 + " == []",
    "a list that doubles": "[[1, 2, 3, 4]]" + ".map(l, l + l)" * 60 + " == []",
    "a slow pattern": f"{TEN}.all(i, {TEN}.all(j, '{LONG}'.matches('{'(a+)+' * 20}$')))",
    "a search in a search": f"{TEN}.all(i, {TEN}.all(j, !'{LONG}'.contains('{'a' * 500}b')))",
    "many checks": " && ".join(["authorizer.path('/x').check('get').allowed()"] * 3),
}


SHARED = "[[1]]" + ".map(a, [a, a])" * 60


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (f"{SHARED} == {SHARED}", "the values are too large to compare"),
        (f"'%s'.format([{SHARED}])", "more than 100000 values to format"),
        (
            f"{TEN}.map(i, {TEN}).map(l, l.map(i, '{LONG}'.replace('a', '{'b' * 900}')).join())",
            "the text is longer than 10485760 characters",
        ),
    ],
)
def test_values_that_share_their_parts_are_not_walked_for_ever(source: str, said: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        ENV.compile(source).evaluate({}, Meter(1_000_000))
    assert str(caught.value) == said


@pytest.mark.parametrize("name", HOSTILE)
def test_the_cost_limit_stops_a_hostile_expression(name: str) -> None:
    asked: list[Any] = []

    def decide(query: Any) -> authorizer.Decision:
        asked.append(query)
        return authorizer.Decision(True)

    environment = Environment({"authorizer": types.Type(authorizer.Authorizer.type_name)})
    meter = Meter(1_000_000)
    with pytest.raises(CostExceeded, match="operation cancelled: actual cost limit exceeded"):
        environment.compile(HOSTILE[name]).evaluate(
            {"authorizer": authorizer.Authorizer(decide)}, meter
        )
    assert len(asked) <= 2


def test_a_lazy_variable_is_computed_once_and_paid_for_where_it_is_used() -> None:
    inner = ENV.compile("self.tags.map(t, t + '!')")
    outer = Environment({"v": types.list_of(types.STRING)})
    used, unused = Meter(1000), Meter(1000)
    found = outer.compile("v[0] + v[1]").evaluate(VALUES | {"v": Lazy(inner)}, used)
    assert found == "a!b!"
    outer.compile("true || v.size() > 0").evaluate({"v": Lazy(inner)}, unused)
    assert unused.spent == 0
    alone = Meter(1000)
    inner.evaluate(VALUES, alone)
    assert alone.spent < used.spent < 2 * alone.spent


@pytest.mark.parametrize(
    ("source", "cost"),
    [
        ("1", 0),
        ("x", 1),
        ("self.name", 2),
        ("x + 1", 2),
        ("self.name == 'web'", 3),
        ("[1, 2, 3]", 10),
        ("{'a': 1}", 30),
        ("self.tags.all(t, true)", 2 + 2 * 3 + 1),
        ("self.tags.exists(t, false)", 2 + 2 * 4 + 1),
        ("self.tags.map(t, t)", 2 + 10 + 2 * (12 + 1) + 1),
        ("has(self.name)", 1),
        ("true ? x : x + x", 1),
    ],
)
def test_costs_are_those_of_cel_go(source: str, cost: int) -> None:
    meter = Meter(1000)
    ENV.compile(source).evaluate(VALUES, meter)
    assert meter.spent == cost
