"""Path elements: the text of a step from a value to what is below it, as fieldsV1 writes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson

_COMPACT = orjson.OPT_SORT_KEYS


class KeyMissing(ValueError):
    """An item of a list that is merged by keys has none of them."""


def field(name: str) -> str:
    """A field of a struct, or a key of a map."""
    return "f:" + name


def value(item: Any) -> str:
    """An item of a set."""
    return "v:" + orjson.dumps(item, option=_COMPACT).decode()


@lru_cache(maxsize=8192)
def _one_key(name: str, text: str) -> str:
    return "k:" + orjson.dumps({name: text}).decode()


def key(item: Mapping[str, Any], names: Sequence[str], defaults: Mapping[str, Any]) -> str:
    """An item of a list that is merged by keys; KeyMissing if it has none of them."""
    if len(names) == 1:
        only = item.get(names[0])
        if type(only) is str:
            return _one_key(names[0], only)
    found = {}
    for name in names:
        known = item.get(name, defaults.get(name))
        if known is not None:
            found[name] = known
    if not found:
        listed = ", ".join(f'"{name}"' for name in names)
        raise KeyMissing(
            f"associative list with keys has an element that omits all key fields [{listed}] "
            "(and doesn't have default values for any key fields)"
        )
    return "k:" + orjson.dumps(found, option=_COMPACT).decode()


def is_valid(element: str) -> bool:
    """Whether a client's text is an element."""
    kind, text = element[:2], element[2:]
    if kind == "f:":
        return True
    if kind == "i:":
        return text.isascii() and text.lstrip("-").isdigit()
    if kind not in ("k:", "v:"):
        return False
    try:
        decoded = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return kind == "v:" or isinstance(decoded, dict)


def display(path: Iterable[str]) -> str:
    """A path for people: `.spec.containers[name="c"].image`."""
    return "".join(_shown(element) for element in path)


def _shown(element: str) -> str:
    kind, text = element[:2], element[2:]
    if kind == "f:":
        return "." + text
    if kind == "v:":
        return f"[={text}]"
    if kind == "k:":
        pairs = sorted(orjson.loads(text).items())
        return "[" + ",".join(f"{k}={orjson.dumps(v).decode()}" for k, v in pairs) + "]"
    return f"[{text}]"
