"""Answers in the three encodings. JSON is what is stored, so only the other two cost each reader.

Protobuf on a watch is as upstream's raw stream: a frame is its length (4 bytes, big-endian) and a
WatchEvent, whose object is an envelope of its own.
"""

from __future__ import annotations

from typing import Any

from cluster.apiserver.http.messages import Request, Response, chunk
from cluster.apiserver.negotiation import PROTOBUF, YAML, plain_encoding
from cluster.machinery.codec import json_codec, partial, protobuf, yaml_codec

Object = dict[str, Any]


def encode(obj: Object, encoding: str) -> bytes:
    """One object or list; BadRequest if it has no protobuf form and that is asked for."""
    if encoding == PROTOBUF:
        return partial.encode(obj) if partial.is_partial(obj) else protobuf.encode(obj)
    return yaml_codec.encode(obj) if encoding == YAML else json_codec.encode(obj)


def event(type_: str, obj: Object, encoding: str) -> bytes:
    """One event of a watch, as a chunk."""
    if encoding == PROTOBUF:
        return chunk(protobuf.watch_frame(type_, encode(obj, PROTOBUF)))
    return chunk(json_codec.encode({"type": type_, "object": obj}) + b"\n")


def reply(request: Request, code: int, obj: Object) -> Response:
    """A Status or another object that is made for this answer. It is never refused: what it
    tells of has happened."""
    encoding = plain_encoding(request.headers.get("accept", ""))
    return Response(code, encode(obj, encoding), encoding)
