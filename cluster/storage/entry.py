"""What the cache keeps of an object: its bytes, and the few parsed parts that selectors need."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Literal

from cluster.storage import encoding
from cluster.storage.encoding import Object

Fields = Mapping[str, str]
FieldsOf = Callable[[Object], dict[str, str]]
EventType = Literal["ADDED", "MODIFIED", "DELETED"]


class Entry:
    """One version of an object. `data` is what clients receive. Immutable."""

    __slots__ = ("data", "fields", "key", "labels", "revision")

    def __init__(self, key: str, revision: int, data: bytes, labels: Fields, fields: Fields):
        self.key, self.revision, self.data = key, revision, data
        self.labels, self.fields = labels, fields

    def decode(self) -> Object:
        """A fresh object; the caller may change it."""
        return encoding.decode(self.data)


def read(key: str, stored: bytes, revision: int, fields_of: FieldsOf) -> Entry:
    """An entry from what the store holds."""
    obj = encoding.decode(stored)
    metadata = obj["metadata"]
    fields = fields_of(obj)
    fields["metadata.name"] = metadata.get("name", "")
    fields["metadata.namespace"] = metadata.get("namespace", "")
    data = encoding.splice(stored, revision)
    return Entry(key, revision, data, metadata.get("labels") or {}, fields)


class Change:
    """One event of the watch window: `entry` is None after a deletion, `previous` on creation.

    The frames that are sent to watchers are made once per form and shared by all of them.
    """

    __slots__ = ("_frames", "_gone", "entry", "key", "previous", "revision")

    def __init__(self, key: str, revision: int, entry: Entry | None, previous: Entry | None):
        self.key, self.revision = key, revision
        self.entry, self.previous = entry, previous
        self._frames: dict[Hashable, bytes] = {}
        self._gone: bytes | None = None

    def subject(self, type_: EventType) -> bytes:
        """The object that an event of this type shows."""
        if type_ != "DELETED":
            assert self.entry is not None
            return self.entry.data
        if self._gone is None:
            assert self.previous is not None
            self._gone = encoding.resplice(self.previous.data, self.revision)
        return self._gone

    def frame(self, form: Hashable, type_: EventType, make: Callable[[str, bytes], bytes]) -> bytes:
        """The framed event in a form, made by `make(type, object bytes)` on first use."""
        key = (form, type_)
        frame = self._frames.get(key)
        if frame is None:
            frame = self._frames[key] = make(type_, self.subject(type_))
        return frame
