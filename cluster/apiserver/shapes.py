"""Answers in the shape that a client wants: objects, lists, tables, metadata only.

The plain shape in JSON never decodes an object: bytes from storage are joined or framed as they
are. The frames of a watch are shared by all who want the same form, whatever the encoding.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from cluster.apiserver import encodings
from cluster.apiserver.http.messages import Response, chunk
from cluster.apiserver.negotiation import JSON, META_GROUP, PROTOBUF, Wanted
from cluster.machinery import printing, status
from cluster.machinery.codec import json_codec
from cluster.machinery.resources import Resource
from cluster.storage.entry import Entry
from cluster.storage.listing import Page

TABLE = "Table"
PARTIAL = "PartialObjectMetadata"
PARTIAL_LIST = "PartialObjectMetadataList"


class Shaper:
    """How one request's answers look. `include` is the includeObject parameter of tables."""

    def __init__(
        self,
        resource: Resource,
        wanted: Wanted,
        include: str,
        now_s: float,
        printer: printing.Printer | None = None,
    ) -> None:
        if include not in ("", "None", "Metadata", "Object"):
            raise status.bad_request(f'unrecognized includeObject value: "{include}"')
        self.resource, self.wanted, self.now_s = resource, wanted, now_s
        self._printer = printer
        self._include = include or "Metadata"
        self._meta_version = f"{META_GROUP}/{wanted.version}"
        self._columns_sent = False

    # -- whole answers -----------------------------------------------------------------------

    def one(self, data: bytes, code: int = 200) -> Response:
        """One object."""
        if self.wanted.shape == TABLE:
            return self._encoded(code, self._table([json_codec.decode(data)], {}))
        if self.wanted.shape == PARTIAL:
            return self._encoded(code, self._partial(json_codec.decode(data)))
        if self.wanted.shape:
            raise status.not_acceptable(("application/json",))
        return self._bytes(code, data)

    def many(self, page: Page) -> Response:
        """A list."""
        list_meta: dict[str, Any] = {"resourceVersion": str(page.revision)}
        if page.continue_:
            list_meta["continue"] = page.continue_
        if page.remaining:
            list_meta["remainingItemCount"] = page.remaining
        if self.wanted.shape == TABLE:
            return self._encoded(200, self._table([e.decode() for e in page.entries], list_meta))
        if self.wanted.shape:
            return self._encoded(200, self._partial_list(page.entries, list_meta))
        return self._items([e.data for e in page.entries], list_meta)

    def _items(self, items: Sequence[bytes], list_meta: dict[str, Any]) -> Response:
        head = b'{"kind":"%b","apiVersion":"%b","metadata":%b,"items":[' % (
            self.resource.list_kind.encode(),
            self.resource.api_version.encode(),
            json_codec.encode(list_meta),
        )
        rest = [b","] * (2 * len(items))
        rest[::2] = items
        rest[-1:] = [b"]}\n"]
        if self.wanted.encoding == JSON:
            return Response(200, head, self.wanted.content_type, rest=rest)
        return self._bytes(200, b"".join((head, *rest)))

    def _table(self, objects: Sequence[Any], list_meta: dict[str, Any]) -> dict[str, Any]:
        return printing.table(
            self.resource,
            objects,
            self.now_s,
            include_object=self._include,
            list_meta=list_meta or {"resourceVersion": _version(objects)},
            api_version=self._meta_version,
            found=self._printer,
        )

    def _partial(self, obj: dict[str, Any]) -> dict[str, Any]:
        return {"kind": PARTIAL, "apiVersion": self._meta_version, "metadata": obj["metadata"]}

    def _partial_list(self, entries: Sequence[Entry], list_meta: Any) -> dict[str, Any]:
        return {
            "kind": PARTIAL_LIST,
            "apiVersion": self._meta_version,
            "metadata": list_meta,
            "items": [self._partial(entry.decode()) for entry in entries],
        }

    def _encoded(self, code: int, obj: dict[str, Any]) -> Response:
        data = encodings.encode(obj, self.wanted.encoding)
        return Response(code, data, self.wanted.content_type)

    def _bytes(self, code: int, data: bytes) -> Response:
        if self.wanted.encoding != JSON:
            return self._encoded(code, json_codec.decode(data))
        return Response(code, data, self.wanted.content_type)

    # -- events of a watch -------------------------------------------------------------------

    @property
    def form(self) -> Hashable:
        """Watchers of equal forms share their frames."""
        wanted = self.wanted
        first = wanted.shape == TABLE and not self._columns_sent
        return wanted.shape, wanted.version, wanted.encoding, self._include, first

    def frame(self, type_: str, data: bytes) -> bytes:
        """One event as a chunk. Only a table's first event describes the columns."""
        if not self.wanted.shape and self.wanted.encoding != PROTOBUF:
            return chunk(b'{"type":"%b","object":%b}\n' % (type_.encode(), data))
        return self._event(type_, self._shown(json_codec.decode(data)))

    def error(self, error: status.ApiError) -> bytes:
        """An ERROR event, as a chunk: the last of its watch."""
        return self._event("ERROR", error.status)

    def _event(self, type_: str, obj: dict[str, Any]) -> bytes:
        return encodings.event(type_, obj, self.wanted.encoding)

    def sent(self) -> None:
        """The first event is out."""
        self._columns_sent = True

    def _shown(self, obj: dict[str, Any]) -> dict[str, Any]:
        if self.wanted.shape != TABLE:
            return self._partial(obj) if self.wanted.shape else obj
        return printing.table(
            self.resource,
            [obj],
            self.now_s,
            include_object=self._include,
            list_meta={"resourceVersion": _version([obj])},
            api_version=self._meta_version,
            columns_included=not self._columns_sent,
            found=self._printer,
        )

    def bookmark(self, revision: int, initial_end: bool = False) -> bytes:
        """A BOOKMARK event, as a chunk; it carries a revision and nothing else."""
        metadata: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
        if initial_end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        obj: dict[str, Any] = {
            "kind": self.resource.kind,
            "apiVersion": self.resource.api_version,
            "metadata": metadata,
        }
        if self.wanted.shape == PARTIAL:
            obj |= {"kind": PARTIAL, "apiVersion": self._meta_version}
        if self.wanted.shape == TABLE:
            obj = self._bookmark_table(obj)
        return self._event("BOOKMARK", obj)

    def _bookmark_table(self, obj: dict[str, Any]) -> dict[str, Any]:
        return {
            "kind": TABLE,
            "apiVersion": self._meta_version,
            "metadata": {"resourceVersion": obj["metadata"]["resourceVersion"]},
            "columnDefinitions": None,
            "rows": [{"cells": [], "object": obj}],
        }


def _version(objects: Sequence[Any]) -> str:
    return str(objects[0]["metadata"].get("resourceVersion", "")) if objects else ""
