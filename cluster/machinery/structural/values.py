"""Objects against a structural schema: every keyword that a definition may use.

Reasons and messages are those that apiextensions makes of the errors of kube-openapi. On an
update what has not changed is not judged again (ratcheting), with items of map lists found by
their keys.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson

from cluster.machinery import regex
from cluster.machinery.structural import formats
from cluster.machinery.structural.schema import Raw, Structural, join
from cluster.machinery.validation.field import Errors

ABSENT: Any = object()
"""There is no old value to compare with."""


def validate(value: Any, node: Structural, errors: Errors, old: Any = ABSENT) -> None:
    """Append every cause against an object; `old` is what it replaces."""
    _structural(value, node, "", errors, old)


def _structural(value: Any, node: Structural, path: str, errors: Errors, old: Any) -> None:
    if old is not ABSENT and _same(old, value):
        return
    if not _value(value, node.raw, path, errors, node):
        return
    if isinstance(value, dict):
        for name, item in value.items():
            child = node.properties.get(name) or node.additional
            if child is not None and not (node.root and name == "metadata"):
                before = old.get(name, ABSENT) if isinstance(old, dict) else ABSENT
                _structural(item, child, join(path, name), errors, before)
    elif isinstance(value, list):
        _list(value, node, path, errors, old)


def _list(value: list[Any], node: Structural, path: str, errors: Errors, old: Any) -> None:
    if node.list_type in ("set", "map"):
        _unique(value, node, path, errors)
    if node.items is None:
        return
    before = by_keys(old, node) if node.list_type == "map" and isinstance(old, list) else {}
    for at, item in enumerate(value):
        earlier = before.get(key_of(item, node), ABSENT) if before else ABSENT
        _structural(item, node.items, f"{path}[{at}]", errors, earlier)


def key_of(item: Any, node: Structural) -> bytes:
    """What identifies an item of a list of type map."""
    if not isinstance(item, dict):
        return orjson.dumps(item)
    assert node.items is not None
    keys = node.list_map_keys
    return orjson.dumps([item.get(k, _default(node.items, k)) for k in keys])


def _default(node: Structural, name: str) -> Any:
    child = node.properties.get(name)
    return child.raw.get("default") if child is not None else None


def by_keys(items: list[Any], node: Structural) -> dict[bytes, Any]:
    """The items of a list of type map by their keys."""
    return {key_of(item, node): item for item in items}


def _unique(value: list[Any], node: Structural, path: str, errors: Errors) -> None:
    seen: set[bytes] = set()
    for at, item in enumerate(value):
        by_map = node.list_type == "map"
        found = key_of(item, node) if by_map else orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
        if found in seen:
            shown = item
            if by_map and isinstance(item, dict):
                shown = {k: item[k] for k in node.list_map_keys if k in item}
            errors.duplicate(f"{path}[{at}]", shown)
        seen.add(found)


def _value(value: Any, raw: Raw, path: str, errors: Errors, node: Structural | None = None) -> bool:
    """The value validations of one node; False if the type is wrong and nothing else matters."""
    int_or_string = bool(raw.get("x-kubernetes-int-or-string"))
    if value is None and (raw.get("nullable") or not (raw.get("type") or int_or_string)):
        return False
    if not _type(value, raw, path, errors, int_or_string):
        return False
    _enum(value, raw, path, errors)
    if isinstance(value, str):
        _string(value, raw, path, errors)
    elif isinstance(value, bool):
        pass
    elif isinstance(value, int | float):
        _number(value, raw, path, errors)
    elif isinstance(value, list):
        _size(value, raw, path, errors, "Items", "items")
    elif isinstance(value, dict):
        _size(value, raw, path, errors, "Properties", "properties")
        _required(value, raw, path, errors)
    _junctors(value, raw, path, errors)
    return True


def _nested(value: Any, raw: Raw, path: str, errors: Errors) -> None:
    """A schema below a junctor, which has value validations only, at any depth."""
    if not _value(value, raw, path, errors):
        return
    if isinstance(value, dict):
        additional = raw.get("additionalProperties")
        for name, item in value.items():
            child = (raw.get("properties") or {}).get(name)
            if child is None and isinstance(additional, Mapping):
                child = additional
            if child is not None:
                _nested(item, child, join(path, name), errors)
    elif isinstance(value, list) and isinstance(raw.get("items"), Mapping):
        for at, item in enumerate(value):
            _nested(item, raw["items"], f"{path}[{at}]", errors)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _type(value: Any, raw: Raw, path: str, errors: Errors, int_or_string: bool) -> bool:
    wanted, actual = raw.get("type") or "", _kind(value)
    if int_or_string:
        if actual in ("integer", "string"):
            return True
        wanted = "integer,string"
    if not wanted or wanted == actual or (wanted, actual) == ("number", "integer"):
        return True
    if wanted == "integer" and isinstance(value, float) and value.is_integer():
        return True
    errors.type_invalid(path, shown(value), f'{path} in body must be of type {wanted}: "{actual}"')
    return False


def _enum(value: Any, raw: Raw, path: str, errors: Errors) -> None:
    allowed = raw.get("enum")
    if allowed and not any(_same(value, each) for each in allowed):
        shown = [a if isinstance(a, str) else orjson.dumps(a).decode() for a in allowed]
        errors.not_supported(path, value, shown)


def _string(value: str, raw: Raw, path: str, errors: Errors) -> None:
    most, least = raw.get("maxLength"), raw.get("minLength")
    if most is not None and len(value) > most:
        errors.too_long(path, int(most))
    if least is not None and len(value) < least:
        errors.invalid(path, value, f"{path} in body should be at least {least} chars long")
    pattern = raw.get("pattern")
    if pattern and not regex.search(pattern, value):
        errors.invalid(path, value, f"{path} in body should match '{pattern}'")
    wanted = raw.get("format")
    if wanted and not formats.holds(wanted, value):
        errors.invalid(
            path, value, f"{path} in body must be of type {wanted}: {formats.quoted(value)}"
        )


def _number(value: int | float, raw: Raw, path: str, errors: Errors) -> None:
    most, least = raw.get("maximum"), raw.get("minimum")
    if most is not None and (value >= most if raw.get("exclusiveMaximum") else value > most):
        than = "less than" if raw.get("exclusiveMaximum") else "less than or equal to"
        errors.invalid(path, value, f"{path} in body should be {than} {_plain(most)}")
    if least is not None and (value <= least if raw.get("exclusiveMinimum") else value < least):
        than = "greater than" if raw.get("exclusiveMinimum") else "greater than or equal to"
        errors.invalid(path, value, f"{path} in body should be {than} {_plain(least)}")
    step = raw.get("multipleOf")
    if step and not _multiple(value, step):
        errors.invalid(path, value, f"{path} in body should be a multiple of {_plain(step)}")
    _number_format(value, raw.get("format") or "", path, errors)


def _number_format(value: int | float, wanted: str, path: str, errors: Errors) -> None:
    bits = {"int32": 31, "int64": 63}.get(wanted)
    if bits and not -(2**bits) <= value < 2**bits:
        errors.invalid(path, value, f"{path} in body must be of type {wanted}: {_plain(value)}")


def _plain(number: int | float) -> str:
    """As Go's %v shows a float64."""
    return str(int(number)) if float(number).is_integer() and abs(number) < 1e21 else repr(number)


def _multiple(value: int | float, step: int | float) -> bool:
    if isinstance(value, int) and isinstance(step, int):
        return value % step == 0
    ratio = value / step
    return math.isfinite(ratio) and ratio == int(ratio)


def _size(value: Any, raw: Raw, path: str, errors: Errors, key: str, word: str) -> None:
    most, least = raw.get(f"max{key}"), raw.get(f"min{key}")
    if most is not None and len(value) > most:
        errors.too_many(path, len(value), int(most))
    if least is not None and len(value) < least:
        errors.invalid(path, len(value), f"{path} in body should have at least {least} {word}")


def _required(value: dict[str, Any], raw: Raw, path: str, errors: Errors) -> None:
    for name in raw.get("required") or ():
        if name not in value:
            errors.required(join(path, name))


def _junctors(value: Any, raw: Raw, path: str, errors: Errors) -> None:
    for each in raw.get("allOf") or ():
        _nested(value, each, path, errors)
    subject = f'"{path}"'
    any_of = [_errors(value, each, path) for each in raw.get("anyOf") or ()]
    if any_of and all(any_of):
        errors.invalid(path, shown(value), f"{subject} must validate at least one schema (anyOf)")
        best: Errors = min(any_of, key=len)
        errors.extend(best)
    one_of = [_errors(value, each, path) for each in raw.get("oneOf") or ()]
    count = sum(not found for found in one_of)
    if one_of and count != 1:
        found = "Found none valid" if not count else f"Found {count} valid alternatives"
        text = f"{subject} must validate one and only one schema (oneOf). {found}"
        errors.invalid(path, shown(value), text)
        closest: Errors = min(one_of, key=len)
        errors.extend([] if count else closest)
    forbidden = raw.get("not")
    if forbidden is not None and not _errors(value, forbidden, path):
        errors.invalid(path, shown(value), f"{subject} must not validate the schema (not)")


def shown(value: Any) -> Any:
    """Errors about a whole object do not repeat it."""
    return "" if isinstance(value, dict | list) else value


def _errors(value: Any, raw: Raw, path: str) -> Errors:
    """What one branch says. Each is asked once: asking again would double with every nesting."""
    errors = Errors()
    _nested(value, raw, path, errors)
    return errors


def _same(a: Any, b: Any) -> bool:
    """Equality of JSON: true is not 1."""
    if isinstance(a, bool) != isinstance(b, bool):
        return False
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(v, b[k]) for k, v in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)
