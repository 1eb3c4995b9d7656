"""What rules may cost at most: the figures that upstream expects for the same schemas."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.machinery.cel import Environment
from cluster.machinery.cel.estimate import estimate
from cluster.machinery.structural import parse
from cluster.machinery.structural.cel_types import type_of

FORMATS = {"date", "date-time", "duration", "byte"}
TEXT = {"type": "string"}
OBJECT = {
    "type": "object",
    "required": ["required"],
    "properties": {"required": TEXT, "optional": TEXT},
}


def scalar(name: str) -> dict[str, Any]:
    if name == "int-or-string":
        return {"x-kubernetes-int-or-string": True}
    return {"type": "string", "format": name} if name in FORMATS else {"type": name}


def text(most: int | None) -> dict[str, Any]:
    return {"type": "string"} | ({} if most is None else {"maxLength": most})


def array(item: Any, most: int | None) -> dict[str, Any]:
    items = scalar(item) if isinstance(item, str) else item
    return {"type": "array", "items": items} | ({} if most is None else {"maxItems": most})


def pairs(value: Any, most: int | None) -> dict[str, Any]:
    values = scalar(value) if isinstance(value, str) else value
    limit = {} if most is None else {"maxProperties": most}
    return {"type": "object", "additionalProperties": values} | limit


def cost(schema: dict[str, Any], rule: str) -> float:
    own = type_of(parse(schema, root=False))
    assert own is not None
    program = Environment({"self": own, "oldSelf": own}).compile(rule)
    return estimate(program.checked).most


ALL = "self.all(x, true)"


@pytest.mark.parametrize(
    ("make", "of", "rule", "unlimited", "most", "limited"),
    [
        (array, "number", ALL, 4718591, 10, 32),
        (array, "string", ALL, 3145727, 20, 62),
        (array, "boolean", ALL, 1887437, 5, 17),
        (array, array("number", None), ALL, 3145727, 100, 302),
        (array, OBJECT, ALL, 555128, 50, 152),
        (array, "int-or-string", ALL, 4718591, 10, 32),
        (array, "duration", ALL, 2359295, 5, 17),
        (array, "date", ALL, 725936, 15, 47),
        (array, "date-time", ALL, 428963, 25, 77),
        (pairs, "number", ALL, 1348169, 10, 32),
        (pairs, "string", ALL, 1179647, 3, 11),
        (pairs, "boolean", ALL, 943718, 100, 302),
        (pairs, "int-or-string", ALL, 1348169, 15, 47),
        (pairs, OBJECT, ALL, 428963, 20, 62),
        (pairs, pairs("number", None), ALL, 1179647, 10, 32),
        (pairs, array("number", None), ALL, 1179647, 25, 77),
        (pairs, "duration", ALL, 1048577, 5, 17),
        (pairs, "date", ALL, 524288, 10, 32),
        (pairs, "date-time", ALL, 349526, 25, 77),
        (array, "number", "self[1] == 0.0", 2, 5000, 2),
        (array, "string", "self[1] == self[1]", 314577, 8, 314577),
        (array, "number", "self.all(x, x == 0.0)", 6291454, 3 * 1024 * 2048, 25165826),
        (array, "int-or-string", "self[0] == 5", 3, 10, 3),
        (array, "boolean", "self[0] == false", 2, 25, 2),
        (array, OBJECT, "self[0] == null", 2, 422, 2),
        (array, array("number", None), "self[0][0] == -1.0", 3, 51, 3),
        (array, pairs("number", None), "self.all(x, x.y == 25.2)", 6291452, 12, 74),
        (array, pairs("number", None), "self[0].x > 2.0", 4, 3000, 4),
        (array, "duration", "self[0].getHours() == 2", 4, 525, 4),
        (array, "date", "self[2].getDayOfMonth() == 13", 4, 42, 4),
        (array, "date-time", "self[2].getMinutes() == 45", 4, 99, 4),
        (pairs, "number", 'self["x"] == 0.0', 2, 0, 2),
        (pairs, "integer", "oldSelf.size() == self.size()", 5, 10, 5),
        (pairs, "date-time", 'self["a"] == self["b"]', 8, 7, 8),
        (pairs, "duration", 'self["c"] == self["d"]', 8, 42, 8),
    ],
)
def test_lists_and_maps(
    make: Any, of: Any, rule: str, unlimited: int, most: int, limited: int
) -> None:
    assert cost(make(of, None), rule) == unlimited
    assert cost(make(of, most), rule) == limited


@pytest.mark.parametrize(
    ("rule", "unlimited", "most", "limited"),
    [
        ("self.contains('test')", 314574, 10, 5),
        ("self.startsWith('test')", 2, 15, 2),
        ("self.endsWith('test')", 2, 30, 2),
        ('size(self + "hello") > size("hello")', 314578, 4, 7),
        ('self.matches("x")', 314574, 50, 22),
        ('"".matches("(((((((((())))))))))[0-9]")', 7, 10, 7),
        ('self.matches("")', 1, 100, 1),
        ('self == "x"', 2, 0, 1),
        ("self.find('[0-9]+') == ''", 629147, 10, 11),
        ("self.lowerAscii() == 'lower!'", 314575, 10, 6),
    ],
)
def test_strings(rule: str, unlimited: int, most: int, limited: int) -> None:
    assert cost(text(None), rule) == unlimited
    assert cost(text(most), rule) == limited


def test_replace_split_and_enumerations() -> None:
    def fields(most: int | None) -> dict[str, Any]:
        named = {"str": text(most), "separator": text(most), "before": text(2), "after": text(4)}
        return {"type": "object", "properties": named}

    replaced = "self.str.replace(self.before, self.after) == 'does not matter'"
    assert (cost(fields(None), replaced), cost(fields(4), replaced)) == (629154, 12)
    split = "self.str.split(self.separator) == []"
    assert (cost(fields(None), split), cost(fields(10), split)) == (629160, 22)
    names = {"type": "string", "enum": ["A", "B", "C", "LongValue"]}
    assert cost(names, "self.contains('A')") == 2
    assert cost(names | {"maxLength": 1000}, "self.contains('A')") == 401


def test_loops_in_loops_multiply() -> None:
    ten = array("number", 10)
    assert cost(ten, "self.all(x, self.all(y, true))") == 352
    assert cost(ten, "self.all(x, self.all(y, self.all(z, true)))") == 3552
    assert cost(array("number", None), "self.all(x, self.all(y, true))") > 10_000_000
