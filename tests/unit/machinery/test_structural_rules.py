"""Rules in schemas: what is refused when a definition is written, and what they say of objects."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.machinery.structural import expressions, parse, rule_schemas
from cluster.machinery.structural.values import ABSENT
from cluster.machinery.validation.field import Errors

PATH = "spec.validation.openAPIV3Schema"


def schema(spec: dict[str, Any], *rules: dict[str, Any]) -> dict[str, Any]:
    inner = {"type": "object", "properties": spec, "x-kubernetes-validations": list(rules)}
    return {"type": "object", "properties": {"spec": inner}}


def refused(raw: dict[str, Any]) -> list[str]:
    errors = Errors()
    rule_schemas.check(parse(raw), PATH, errors)
    return [str(error) for error in errors]


def causes(raw: dict[str, Any], new: Any, old: Any = ABSENT) -> list[tuple[str, str, str]]:
    assert refused(raw) == []
    errors = Errors()
    before = ABSENT if old is ABSENT else {"spec": old}
    expressions.Rules(parse(raw)).validate({"spec": new}, before, errors)
    return [(e.field, e.reason, e.message) for e in errors]


INT, TEXT = {"type": "integer"}, {"type": "string"}
LIMITS = {"min": INT, "max": INT}


def test_a_rule_that_does_not_hold_is_reported_where_it_stands() -> None:
    raw = schema(LIMITS, {"rule": "self.min <= self.max"})
    assert causes(raw, {"min": 1, "max": 2}) == []
    assert causes(raw, {"min": 3, "max": 2}) == [
        ("spec", "FieldValueInvalid", "Invalid value: failed rule: self.min <= self.max")
    ]


def test_message_expression_reason_and_field_path() -> None:
    rule = {
        "rule": "self.min <= self.max",
        "message": "min above max",
        "messageExpression": "'%d is above %d'.format([self.min, self.max])",
        "reason": "FieldValueForbidden",
        "fieldPath": ".min",
    }
    assert causes(schema(LIMITS, rule), {"min": 3, "max": 2}) == [
        ("spec.min", "FieldValueForbidden", "Forbidden: 3 is above 2")
    ]
    broken = rule | {"messageExpression": "string(1 / (self.max - 2))"}
    assert causes(schema(LIMITS, broken), {"min": 3, "max": 2})[0][2] == "Forbidden: min above max"


def test_scalars_show_their_value() -> None:
    rule = {"rule": "self % 2 == 0", "message": "must be even"}
    raw = schema({"n": INT | {"x-kubernetes-validations": [rule]}})
    assert causes(raw, {"n": 3}) == [
        ("spec.n", "FieldValueInvalid", "Invalid value: 3: must be even")
    ]


def test_a_rule_that_fails_to_run_says_why() -> None:
    raw = schema(LIMITS, {"rule": "self.min / self.max > 0"})
    assert causes(raw, {"min": 1, "max": 0})[0][2] == (
        'Invalid value: "object": division by zero evaluating rule: self.min / self.max > 0'
    )
    loose = schema({"p": {"x-kubernetes-int-or-string": True}}, {"rule": "self.p + 1 > 0"})
    assert causes(loose, {"p": "x"})[0][2].startswith(
        "Invalid value: \"object\": 'no such overload': call arguments did not match a supported "
    )


def test_transition_rules_are_about_changes_only() -> None:
    raw = schema({"n": INT | {"x-kubernetes-validations": [{"rule": "self >= oldSelf"}]}})
    assert causes(raw, {"n": 1}) == []
    assert causes(raw, {"n": 2}, {"n": 1}) == []
    assert causes(raw, {"n": 1}, {"n": 2})[0][0] == "spec.n"
    assert causes(raw, {"n": 1}, {}) == []


def test_an_optional_old_value_lets_a_rule_see_creation() -> None:
    rule = {"rule": "oldSelf.hasValue() || self == 1", "optionalOldSelf": True}
    raw = schema({"n": INT | {"x-kubernetes-validations": [rule]}})
    assert causes(raw, {"n": 1}) == []
    assert causes(raw, {"n": 5})[0][0] == "spec.n"
    assert causes(raw, {"n": 5}, {"n": 4}) == []


def test_items_of_map_lists_are_compared_by_their_keys() -> None:
    item = {"type": "object", "properties": {"name": TEXT, "n": INT}, "required": ["name"],
            "x-kubernetes-validations": [{"rule": "self.n >= oldSelf.n"}]}  # fmt: skip
    items = {"type": "array", "maxItems": 10, "items": item, "x-kubernetes-list-type": "map",
             "x-kubernetes-list-map-keys": ["name"]}  # fmt: skip
    raw = schema({"l": items})
    old = {"l": [{"name": "a", "n": 1}, {"name": "b", "n": 5}]}
    assert causes(raw, {"l": [{"name": "b", "n": 5}, {"name": "a", "n": 2}]}, old) == []
    found = causes(raw, {"l": [{"name": "c", "n": 0}, {"name": "b", "n": 4}]}, old)
    assert [f[0] for f in found] == ["spec.l[1]"]


def test_what_has_not_changed_is_not_judged_again() -> None:
    raw = schema({"n": INT | {"x-kubernetes-validations": [{"rule": "self > 10"}]}, "o": INT})
    assert causes(raw, {"n": 1, "o": 2}, {"n": 1, "o": 1}) == []
    assert causes(raw, {"n": 2, "o": 2}, {"n": 1, "o": 1})[0][0] == "spec.n"


def test_names_that_cel_cannot_write_are_escaped() -> None:
    fields = {"a-b": INT, "c.d": INT, "e/f": INT, "g__h": INT, "in": INT, "$x": INT}
    rule = (
        "self.a__dash__b + self.c__dot__d + self.e__slash__f + self.g__underscores__h + "
        "self.__in__ == 15"
    )
    new = {"a-b": 1, "c.d": 2, "e/f": 3, "g__h": 4, "in": 5, "$x": 6}
    assert causes(schema(fields, {"rule": rule}), new) == []
    assert "undefined field 'x'" in refused(schema(fields, {"rule": "self.x == 6"}))[0]


def test_formats_and_list_types_have_types_of_their_own() -> None:
    fields = {
        "at": {"type": "string", "format": "date-time"},
        "for": {"type": "string", "format": "duration"},
        "raw": {"type": "string", "format": "byte"},
        "set": {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set", "maxItems": 9},
        "ratio": {"type": "number"},
    }
    rule = (
        "self.at.getFullYear() == 2024 && self.__for__ > duration('1h') && self.raw == b'hi' && "
        "self.set == ['b', 'a'] + ['a'] && self.ratio == 3.0 && self.set.exists(s, s == 'a')"
    )
    new = {"at": "2024-01-01T00:00:00Z", "for": "2h", "raw": "aGk=", "set": ["a", "b"], "ratio": 3}
    found = causes(schema(fields, {"rule": rule.replace("['b', 'a'] + ['a']", "self.set")}), new)
    assert found == []


def test_the_root_reaches_the_name_of_an_object() -> None:
    raw = {"type": "object", "x-kubernetes-validations": [
        {"rule": "self.metadata.name.startsWith('a') && self.kind == 'K'"}]}  # fmt: skip
    errors = Errors()
    rules = expressions.Rules(parse(raw))
    rules.validate({"kind": "K", "metadata": {"name": "abc"}}, ABSENT, errors)
    assert errors == []
    rules.validate({"kind": "K", "metadata": {"name": "xyz"}}, ABSENT, errors)
    assert len(errors) == 1


def test_an_object_with_worse_errors_is_not_given_to_the_rules() -> None:
    errors = Errors()
    errors.required("spec.x")
    raw = schema(LIMITS, {"rule": "self.min <= self.max"})
    expressions.Rules(parse(raw)).validate({"spec": {"min": 3, "max": 1}}, ABSENT, errors)
    assert [e.field for e in errors] == ["spec.x", "<nil>"]
    assert errors[1].message.startswith("Invalid value: null: some validation rules were not")


def test_rules_on_one_object_share_a_budget() -> None:
    rule = {"rule": "self.matches('^(a|b)*$')"}
    item = TEXT | {"x-kubernetes-validations": [rule], "maxLength": 100}
    raw = schema({"l": {"type": "array", "maxItems": 1000, "items": item}})
    [found] = causes(raw, {"l": ["ab" * 5000] * 6000})  # more than the schema would let through
    assert "running out of cost budget, no further validation rules" in found[2]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"rule": "self.nope"}, "undefined field 'nope'"),
        (
            {"rule": "self.min +"},
            "compilation failed: ERROR: <input>:1:11: Syntax error: ",
        ),
        ({"rule": "self.min"}, "cel expression must evaluate to a bool"),
        ({"rule": " "}, "Required value: rule is not specified"),
        ({"rule": "true", "message": " "}, "message must be non-empty if specified"),
        ({"rule": "true", "message": "a\nb"}, "message must not contain line breaks"),
        ({"rule": "true", "messageExpression": "1"}, "messageExpression must evaluate to a string"),
        ({"rule": "true", "reason": "Odd"}, 'Unsupported value: "Odd"'),
        ({"rule": "true", "fieldPath": ".nope"}, "fieldPath must be a valid path"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused(rule: dict[str, Any], said: str) -> None:
    [found] = refused(schema(LIMITS, rule))
    assert found.startswith(f"{PATH}.properties[spec].x-kubernetes-validations[0]")
    assert said in found


def test_a_refusal_quotes_the_rule_as_upstream_does() -> None:
    [found] = refused(schema(LIMITS, {"rule": "self.nope > 1"}))
    assert found == (
        f"{PATH}.properties[spec].x-kubernetes-validations[0].rule: Invalid value: "
        'apiextensions.ValidationRule{Rule:"self.nope > 1", Message:"", MessageExpression:"", '
        'Reason:(*apiextensions.FieldValueErrorReason)(nil), FieldPath:"", '
        "OptionalOldSelf:(*bool)(nil)}: compilation failed: ERROR: <input>:1:5: undefined field "
        "'nope'\n | self.nope > 1\n | ....^"
    )


def test_old_values_cannot_be_used_in_lists_whose_items_nothing_identifies() -> None:
    item = INT | {"x-kubernetes-validations": [{"rule": "self > oldSelf"}]}
    [found] = refused(schema({"l": {"type": "array", "maxItems": 5, "items": item}}))
    assert "oldSelf cannot be used on the uncorrelatable portion of the schema" in found


def test_a_rule_that_may_cost_too_much_is_refused_until_the_schema_has_limits() -> None:
    def nested(**limit: int) -> dict[str, Any]:
        lists = {"type": "array", "items": TEXT | ({"maxLength": 50} if limit else {})} | limit
        rule = {"rule": "self.l.all(a, self.l.exists(b, a != b))"}
        return schema({"l": lists}, rule)

    found = refused(nested())
    assert found[0] == (
        f"{PATH}.properties[spec].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost "
        "exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, "
        "maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
    assert refused(nested(maxItems=100)) == []


def test_many_rules_together_may_cost_too_much() -> None:
    text = TEXT | {"maxLength": 20_000}
    each = [{"rule": f"self.a.matches('^{'x' * n}.*{'y' * 150}$')"} for n in range(150, 330)]
    found = refused(schema({"a": text}, *each))
    assert any("cost total for entire OpenAPIv3 schema exceeds budget by factor of" in f
               for f in found)  # fmt: skip


def test_large_sets_are_compared_in_linear_time() -> None:
    items = {"type": "array", "items": INT, "x-kubernetes-list-type": "set", "maxItems": 200_000}
    rule = {"rule": "self.l == oldSelf.l || self.l + oldSelf.l == self.l"}
    numbers = list(range(100_000))
    new, old = {"l": numbers, "n": 1}, {"l": [*reversed(numbers)]}
    assert causes(schema({"l": items, "n": INT}, rule), new, old) == []
