"""Objects as bytes: encoded once, on write; the resourceVersion is spliced in on reading.

The stored form is compact JSON whose first keys are kind, apiVersion and metadata, so that the
place of the resourceVersion is found without parsing. The revision of a key in the store *is*
the resourceVersion, so it is not stored.
"""

from __future__ import annotations

from typing import Any, cast

import orjson

Object = dict[str, Any]

_METADATA = b'"metadata":{'
_VERSION = b'"resourceVersion":"'
_NOT_STORED = ("resourceVersion", "selfLink")


def encode(obj: Object) -> bytes:
    """The stored form. `metadata` must not be empty; the object itself is not changed."""
    metadata = {k: v for k, v in obj["metadata"].items() if k not in _NOT_STORED}
    ordered = {"kind": obj["kind"], "apiVersion": obj["apiVersion"], "metadata": metadata}
    ordered.update((k, v) for k, v in obj.items() if k not in ordered)
    return orjson.dumps(ordered)


def decode(data: bytes) -> Object:
    """An object from its stored or its spliced form."""
    return cast(Object, orjson.loads(data))


def copied(obj: Object) -> Object:
    """A deep copy of an object; ten times as quick as copy.deepcopy.

    Its managedFields, often half of it, are shared: their trees are never changed in place.
    """
    metadata = obj.get("metadata")
    if not metadata or "managedFields" not in metadata:
        return cast(Object, orjson.loads(orjson.dumps(obj)))
    rest = {k: v for k, v in metadata.items() if k != "managedFields"}
    new: Object = orjson.loads(orjson.dumps({**obj, "metadata": rest}))
    new["metadata"]["managedFields"] = metadata["managedFields"]
    return new


def splice(stored: bytes, revision: int) -> bytes:
    """The form that clients see: the stored form with its resourceVersion."""
    at = stored.index(_METADATA) + len(_METADATA)
    return b'%b"resourceVersion":"%d",%b' % (stored[:at], revision, stored[at:])


def resplice(spliced: bytes, revision: int) -> bytes:
    """The same object under another resourceVersion (a deletion shows its own revision)."""
    start = spliced.index(_METADATA) + len(_METADATA) + len(_VERSION)
    end = spliced.index(b'"', start)
    return b"%b%d%b" % (spliced[:start], revision, spliced[end:])


def unsplice(spliced: bytes) -> bytes:
    """The stored form of what `splice` made."""
    start = spliced.index(_METADATA) + len(_METADATA)
    end = spliced.index(b'"', start + len(_VERSION)) + 2
    return spliced[:start] + spliced[end:]
