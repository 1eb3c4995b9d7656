"""Object metadata: times, keys, owner references, conditions. Objects are plain dicts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

Object = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def format_time(unix_s: float) -> str:
    """metav1.Time: whole seconds of UTC, rounded down ("2026-01-02T03:04:05Z")."""
    return f"{_to_the_second(int(unix_s // 1))}Z"


@lru_cache(maxsize=256)
def _to_the_second(unix_s: int) -> str:
    """Much of what is written in one second bears the same time."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def format_micro_time(unix_s: float) -> str:
    """metav1.MicroTime: six decimals, always ("2026-01-02T03:04:05.000006Z")."""
    micros = round(unix_s * 1_000_000)
    return f"{_to_the_second(micros // 1_000_000)}.{micros % 1_000_000:06d}Z"


def parse_time(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time; ValueError when it is none."""
    return parse_micros(text) / 10**6


def parse_micros(text: str) -> int:
    """As `parse_time`, in exact microseconds."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or "T" not in text.upper():
        raise ValueError(f"not an RFC 3339 time: {text!r}")
    return (moment - _EPOCH) // timedelta(microseconds=1)


def name(obj: Object) -> str:
    """`metadata.name`, or "" where there is none yet."""
    return str((obj.get("metadata") or {}).get("name") or "")


def namespace(obj: Object) -> str:
    """`metadata.namespace`, or "" for cluster-scoped objects."""
    return str((obj.get("metadata") or {}).get("namespace") or "")


def finalizers(obj: Object) -> list[str]:
    """Of an object; a new list."""
    return list(obj["metadata"].get("finalizers") or ())


def key(obj: Object) -> str:
    """`namespace/name`, or `name` alone for cluster-scoped objects."""
    space = namespace(obj)
    return f"{space}/{name(obj)}" if space else name(obj)


def split_key(text: str) -> tuple[str, str]:
    """(namespace, name) of what `key` returned."""
    space, _, own = text.rpartition("/")
    return space, own


def group_version(api_version: str) -> tuple[str, str]:
    """("apps", "v1") of "apps/v1"; ("", "v1") of "v1"."""
    group, _, version = api_version.rpartition("/")
    return group, version


def owner_reference(owner: Object, controller: bool = True) -> Object:
    """The entry that makes `owner` the (controlling) owner of another object."""
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }
    return reference | {"controller": True, "blockOwnerDeletion": True} if controller else reference


def controller_of(obj: Object) -> Object | None:
    """The owner reference with `controller: true`, if there is one."""
    for reference in (obj.get("metadata") or {}).get("ownerReferences") or ():
        if reference.get("controller"):
            found: Object = reference
            return found
    return None


def condition(obj: Object, type_: str) -> Object | None:
    """The entry of `status.conditions` of that type."""
    for entry in (obj.get("status") or {}).get("conditions") or ():
        if entry.get("type") == type_:
            found: Object = entry
            return found
    return None


def condition_is(obj: Object, type_: str, status: str = "True") -> bool:
    """Whether the condition exists and has that status."""
    entry = condition(obj, type_)
    return entry is not None and entry.get("status") == status


def set_condition(obj: Object, new: Object, now_s: float) -> bool:
    """Put a condition into `status.conditions` in place; True if anything changed.

    `lastTransitionTime` moves only when the status does, as upstream's SetStatusCondition.
    """
    old = condition(obj, new["type"])
    if old is None:
        entry = new | {"lastTransitionTime": new.get("lastTransitionTime") or format_time(now_s)}
        obj.setdefault("status", {}).setdefault("conditions", []).append(entry)
        return True
    before = dict(old)
    if old.get("status") != new.get("status"):
        old["lastTransitionTime"] = new.get("lastTransitionTime") or format_time(now_s)
    old.update({k: v for k, v in new.items() if k != "lastTransitionTime"})
    return before != old
