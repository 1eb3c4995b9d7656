"""Who a container's program runs as, by the passwd and group files of its image.

The rules are those of runc: numbers need no entry, names do; the home folder is the entry's.
"""

from __future__ import annotations

import os
import stat
from typing import Any

_SIZE_BYTES_MAX = 1 << 20
_ID_MAX = 2**31 - 1


def terminal_owner(spec: dict[str, Any]) -> int | None:
    """None: it belongs to the right one as it is."""
    return None if spec["isolation"] == "user" else spec["uid"]


def resolve(spec: dict[str, Any]) -> None:
    """Fill in `uid`, `gid`, `groups` and HOME of a container that has an image.

    To be called inside its root. Raises OSError for names that the image does not know.
    """
    if not spec.get("root"):
        return
    user, _, group = ("" if spec["uid"] is not None else spec.get("user") or "").partition(":")
    entry = _entry("/etc/passwd", user or str(spec["uid"] or 0), 7)
    uid = _number(user) if spec["uid"] is None else spec["uid"]
    if uid is None:
        if entry is None:
            raise OSError(f"unable to find user {user}: no matching entries in passwd file")
        uid = int(entry[2])
    gid = spec["gid"] if spec["gid"] is not None else _group(group, entry)
    names = _groups_of(entry[0]) if entry is not None and not group else []
    spec |= {"uid": uid, "gid": gid, "groups": list(dict.fromkeys([*names, *spec["groups"]]))}
    spec["env"].setdefault("HOME", (entry[5] if entry else "") or "/")


def _number(text: str) -> int | None:
    """Of a user given as a number; nobody in particular is root."""
    if not text:
        return 0
    if not text.isdecimal():
        return None
    if int(text) > _ID_MAX:
        raise OSError(f"user {text} is out of range")
    return int(text)


def _group(name: str, entry: list[str] | None) -> int:
    if not name:
        return int(entry[3]) if entry is not None else 0
    found = _entry("/etc/group", name, 4)
    if found is not None:
        return int(found[2])
    number = _number(name)
    if number is None:
        raise OSError(f"unable to find group {name}: no matching entries in group file")
    return number


def _groups_of(user: str) -> list[int]:
    return [int(line[2]) for line in _lines("/etc/group", 4) if user in line[3].split(",")]


def _entry(path: str, wanted: str, fields: int) -> list[str] | None:
    """By name, else by number."""
    lines = _lines(path, fields)
    by_number = [line for line in lines if line[2] == wanted]
    return next((line for line in lines if line[0] == wanted), by_number[0] if by_number else None)


def _lines(path: str, fields: int) -> list[list[str]]:
    """What an image has there need not be a file, nor be well formed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    with os.fdopen(descriptor, "rb") as file:
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        text = file.read(_SIZE_BYTES_MAX).decode(errors="replace") if regular else ""
    lines = [line.split(":") for line in text.splitlines()]
    return [line for line in lines if len(line) >= fields and _are_numbers(line, fields)]


def _are_numbers(line: list[str], fields: int) -> bool:
    """Users have two, groups one."""
    return all(value.isdecimal() and int(value) <= _ID_MAX for value in line[2 : fields // 2 + 1])
