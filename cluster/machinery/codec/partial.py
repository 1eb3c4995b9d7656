"""PartialObjectMetadata and its lists in protobuf: of any kind, so the schema has no type for them.

Field numbers: `meta/v1/generated.proto` and `meta/v1beta1/generated.proto` of apimachinery.
"""

from __future__ import annotations

from typing import Any

from cluster.machinery import schema
from cluster.machinery.codec import protobuf, wire

GROUP = "meta.k8s.io"
KINDS = ("PartialObjectMetadata", "PartialObjectMetadataList")
_LIST_NUMBERS = {"v1": (1, 2), "v1beta1": (2, 1)}
"""Of a list's metadata and of its items."""


def is_partial(obj: dict[str, Any]) -> bool:
    """Whether it is one of the two kinds."""
    return obj.get("kind") in KINDS and str(obj.get("apiVersion")).startswith(f"{GROUP}/")


def encode(obj: dict[str, Any]) -> bytes:
    """The envelope round one of the two kinds; BadRequest for a value that does not fit."""
    version = str(obj["apiVersion"]).rpartition("/")[2]
    message = _list(obj, version) if obj["kind"] == KINDS[1] else _one(obj)
    return protobuf.envelope(obj["apiVersion"], obj["kind"], message)


def _one(obj: dict[str, Any]) -> bytes:
    return wire.delimited(1, protobuf.encode_message(obj["metadata"], schema.OBJECT_META))


def _list(obj: dict[str, Any], version: str) -> bytes:
    own, item = _LIST_NUMBERS[version]
    metadata = protobuf.encode_message(obj["metadata"], schema.LIST_META)
    items = [wire.delimited(item, _one(each)) for each in obj["items"]]
    return b"".join([wire.delimited(own, metadata), *items])
