"""An applied configuration merged onto a live object, and what goes because it is no longer said.

Inputs are never changed; what is not touched is shared between them and the outcome.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cluster.machinery.apply.schema import ListType, MapType, Type, resolve
from cluster.machinery.apply.sets import LEAF, Tree, is_member
from cluster.machinery.apply.walking import items_of


def merge(live: Any, config: Any, kind: Type) -> Any:
    """The live value with the configuration's on top."""
    found = resolve(kind, config)
    if resolve(kind, live) is not found:
        return config
    if isinstance(found, MapType):
        merged = dict(live)
        for name, value in config.items():
            merged[name] = merge(live[name], value, found.below(name)) if name in live else value
        return merged
    if isinstance(found, ListType):
        return _merge_lists(live, config, found)
    return config


def _merge_lists(live: list[Any], config: list[Any], kind: ListType) -> list[Any]:
    old, new = items_of(kind, live), items_of(kind, config)
    merged = []
    for element in _order(list(old), list(new)):
        if element in old and element in new:
            merged.append(merge(old[element], new[element], kind.item))
        else:
            merged.append(new[element] if element in new else old[element])
    return merged


def _order(live: list[str], config: list[str]) -> Iterator[str]:
    """The configuration's order; what is live alone stays behind what it stood behind.

    Items of both that come in another order in the configuration follow the configuration.
    """
    known, wanted, at = set(live), set(config), 0
    shared = [element for element in config if element in known]
    for element in config:
        following = shared[0] if shared else None
        while at < len(live) and live[at] != following:
            if live[at] not in wanted:
                yield live[at]
            at += 1
        yield element
        if element == following:
            shared.pop(0)
            if at < len(live) and live[at] == element:
                at += 1
    yield from (element for element in live[at:] if element not in wanted)


def prune(value: dict[str, Any], last: Tree, owned: Tree, kind: MapType) -> dict[str, Any]:
    """Drop what was applied last time and nobody owns now. A struct goes with all below it."""
    kept = dict(value)
    for name, item in value.items():
        before = last.get("f:" + name)
        if before is None:
            continue
        now, named = owned.get("f:" + name), name in kind.fields
        if _goes(before, now, named):
            del kept[name]
        elif before:
            _replace(kept, name, _prune_below(item, before, now or LEAF, kind.below(name)))
    return kept


def _goes(before: Tree, now: Tree | None, named: bool) -> bool:
    """A named field is in a set as soon as anything below it is; items must be there themselves."""
    if not (named or is_member(before)):
        return False
    return now is None or not (named or is_member(now))


def _replace(kept: dict[str, Any], name: str, pruned: Any) -> None:
    if kept[name] and pruned in ({}, []):
        del kept[name]  # nothing is left of a list or map that had something
    else:
        kept[name] = pruned


def _prune_below(value: Any, last: Tree, owned: Tree, kind: Type) -> Any:
    found = resolve(kind, value)
    if isinstance(found, MapType):
        return prune(value, last, owned, found)
    if not isinstance(found, ListType):
        return value
    kept = []
    for element, item in items_of(found, value).items():
        before, now = last.get(element), owned.get(element)
        if before is not None and _goes(before, now, named=False):
            continue
        kept.append(_prune_below(item, before, now or LEAF, found.item) if before else item)
    return kept
