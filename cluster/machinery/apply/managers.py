"""managedFields as a list of entries: whose they are, in what order, how many, how old."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cluster.machinery.apply import sets
from cluster.machinery.apply.schema import Object
from cluster.machinery.apply.sets import Tree

Entry = dict[str, Any]

APPLY, UPDATE = "Apply", "Update"
FIELDS_V1 = "FieldsV1"
MAX_UPDATE_MANAGERS = 10
OLD_MANAGERS = "ancient-changes"
MAX_NAME_CHARS = 128


def entry(
    manager: str, operation: str, api_version: str, time: str, fields: Tree, subresource: str = ""
) -> Entry:
    """An entry, its fields in upstream's order."""
    made: Entry = {"manager": manager, "operation": operation, "apiVersion": api_version}
    made |= {"time": time, "fieldsType": FIELDS_V1, "fieldsV1": fields}
    return made | {"subresource": subresource} if subresource else made


def identity(found: Entry) -> tuple[str, str, str, str]:
    """What makes two entries one manager's; an applier is the same in every version."""
    operation = found["operation"]
    version = "" if operation == APPLY else found.get("apiVersion", "")
    return found.get("manager", ""), operation, version, found.get("subresource", "")


def with_fields(found: Entry, fields: Tree) -> Entry:
    """The entry with another set; itself where the set is the same."""
    return found if found["fieldsV1"] is fields else {**found, "fieldsV1": fields}


def is_reset(entries: Any) -> bool:
    """`managedFields: [{}]`: the client wants nobody to own anything."""
    return bool(entries == [{}])


def sent(entries: Any, live: list[Entry]) -> list[Entry]:
    """The entries of an update: the client's own where it sends sound ones, else the live ones."""
    if not isinstance(entries, list) or not entries or entries == live:
        return live
    if is_reset(entries):
        return []
    return entries if all(_is_sound(each) for each in entries) else live


def _is_sound(found: Any) -> bool:
    return (
        isinstance(found, dict)
        and found.get("operation") in (APPLY, UPDATE)
        and found.get("fieldsType") == FIELDS_V1
        and isinstance(found.get("manager", ""), str)
        and isinstance(found.get("apiVersion", ""), str)
        and isinstance(found.get("time", ""), str)
        and isinstance(found.get("subresource", ""), str)
        and len(found.get("manager", "")) <= MAX_NAME_CHARS
        and sets.is_valid(found.get("fieldsV1"))
    )


def arranged(entries: Iterable[Entry]) -> list[Entry]:
    """Without empty ones, capped, in upstream's order: appliers first, then by time."""
    kept = [each for each in entries if each["fieldsV1"]]
    if len(kept) > MAX_UPDATE_MANAGERS:
        kept = _capped(kept)
    return sorted(kept, key=_place) if len(kept) > 1 else kept


def _place(found: Entry) -> tuple[str, str, str, str, str]:
    return (
        found["operation"],
        found.get("time") or "",
        found.get("manager", ""),
        found.get("apiVersion", ""),
        found.get("subresource", ""),
    )


def _capped(entries: list[Entry]) -> list[Entry]:
    """The oldest updaters of a version become one, until there are no more than the maximum."""
    updaters = sorted((e for e in entries if e["operation"] == UPDATE), key=_place)
    excess = len(updaters) - MAX_UPDATE_MANAGERS
    if excess <= 0:
        return entries
    buckets: dict[str, list[Entry]] = {}
    for each in updaters:
        bucket = buckets.setdefault(each.get("apiVersion", ""), [])
        if excess > 0 or not bucket:
            excess -= bool(bucket)
            bucket.append(each)
    merged = {id(each) for bucket in buckets.values() if len(bucket) > 1 for each in bucket}
    kept = [each for each in entries if id(each) not in merged]
    return kept + [_joined(bucket) for bucket in buckets.values() if len(bucket) > 1]


def _joined(bucket: list[Entry]) -> Entry:
    fields: Tree = {}
    for each in bucket:
        fields = sets.union(fields, each["fieldsV1"])
    newest = bucket[-1]
    time, version = newest.get("time", ""), newest.get("apiVersion", "")
    return entry(OLD_MANAGERS, UPDATE, version, time, fields)


def settle(new: Object, old: Object) -> None:
    """Where nothing but times of managers differs, they stay: a write that changes nothing."""
    after, before = new["metadata"].get("managedFields"), old["metadata"].get("managedFields")
    if after is before or not after or not before or len(after) != len(before):
        return
    if _unmanaged(new) == _unmanaged(old) and _timeless(after) == _timeless(before):
        new["metadata"]["managedFields"] = before


def _timeless(entries: list[Entry]) -> list[Entry]:
    bare = [{k: v for k, v in each.items() if k != "time"} for each in entries]
    return sorted(bare, key=lambda e: identity(e))


def _unmanaged(obj: Object) -> Object:
    left_out = ("managedFields", "resourceVersion")
    metadata = {k: v for k, v in obj["metadata"].items() if k not in left_out}
    return {**obj, "metadata": metadata}
