"""The protobuf form of an OpenAPI v2 document, which is the only v2 that kubectl asks for.

Media type `application/com.github.proto-openapi.spec.v2@v1.0+protobuf`. Each `_Message` lists the
field numbers of one message of that schema (openapi.v2 of google/gnostic, OpenAPIv2.proto), for the
parts that our documents have.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from typing import Any

Encoder = Callable[[Any], bytes]


def encode(document: dict[str, Any]) -> bytes:
    """The whole document as an `openapi.v2.Document`."""
    return _message(document, _DOCUMENT)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _block(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _flag(number: int, value: bool) -> bytes:
    return _varint(number << 3) + _varint(int(value))


def _message(value: Mapping[str, Any], fields: Mapping[str, tuple[int, Encoder]]) -> bytes:
    """Encode the keys that `fields` knows; vendor extensions go where `x-` says."""
    parts = []
    for key, item in value.items():
        number, encoder = fields.get(key) or fields.get(key[:2], (0, _text))
        if number == 0:
            raise ValueError(f"openapi v2: no field for {key!r}")
        if key.startswith("x-"):
            parts.append(_block(number, _named(key, _any(item))))
        elif encoder in (_double, _count):
            wire = 1 if encoder is _double else 0
            parts.append(_varint(number << 3 | wire) + encoder(item))
        elif isinstance(item, bool) and encoder is not _any:
            parts.append(_flag(number, item))
        elif isinstance(item, list) and (encoder in (_text, _parameter) or key == "enum"):
            parts.extend(_block(number, encoder(each)) for each in item)
        else:
            parts.append(_block(number, encoder(item)))
    return b"".join(parts)


def _text(value: Any) -> bytes:
    return str(value).encode()


def _named(name: str, value: bytes) -> bytes:
    return _block(1, name.encode()) + _block(2, value)


def _any(value: Any) -> bytes:
    return _block(2, json.dumps(value).encode())  # YAML text; JSON is YAML


def _double(value: Any) -> bytes:
    return struct.pack("<d", value)


def _count(value: Any) -> bytes:
    return _varint(int(value))


def _schema(value: Any) -> bytes:
    return _message(value, _SCHEMA)


def _properties(value: Any) -> bytes:
    return b"".join(_block(1, _named(name, _schema(each))) for name, each in value.items())


def _paths(value: Any) -> bytes:
    return b"".join(
        _block(2, _named(name, _message(item, _PATH_ITEM))) for name, item in value.items()
    )


def _operation(value: Any) -> bytes:
    return _message(value, _OPERATION)


def _parameter(value: Any) -> bytes:
    """ParametersItem > Parameter > BodyParameter or NonBodyParameter > query or path."""
    if value["in"] == "body":
        return _block(1, _block(1, _message(value, _BODY_PARAMETER)))
    number, fields = (3, _QUERY_PARAMETER) if value["in"] == "query" else (4, _PATH_PARAMETER)
    return _block(1, _block(2, _block(number, _message(value, fields))))


def _responses(value: Any) -> bytes:
    """NamedResponseValue > ResponseValue > Response."""
    return b"".join(
        _block(1, _named(code, _block(1, _message(each, _RESPONSE))))
        for code, each in value.items()
    )


_SCHEMA: dict[str, tuple[int, Encoder]] = {
    "$ref": (1, _text),
    "format": (2, _text),
    "title": (3, _text),
    "description": (4, _text),
    "default": (5, _any),
    "multipleOf": (6, _double),
    "maximum": (7, _double),
    "exclusiveMaximum": (8, _text),
    "minimum": (9, _double),
    "exclusiveMinimum": (10, _text),
    "maxLength": (11, _count),
    "minLength": (12, _count),
    "pattern": (13, _text),
    "maxItems": (14, _count),
    "minItems": (15, _count),
    "maxProperties": (17, _count),
    "minProperties": (18, _count),
    "required": (19, _text),
    "enum": (20, _any),
    "additionalProperties": (21, lambda value: _block(1, _schema(value))),
    "type": (22, lambda value: _block(1, _text(value))),
    "items": (23, lambda value: _block(1, _schema(value))),
    "properties": (25, _properties),
    "example": (29, _any),
    "x-": (31, _any),
}
_RESPONSE: dict[str, tuple[int, Encoder]] = {
    "description": (1, _text),
    "schema": (2, lambda value: _block(1, _schema(value))),
}
_BODY_PARAMETER: dict[str, tuple[int, Encoder]] = {
    "name": (2, _text),
    "in": (3, _text),
    "required": (4, _text),
    "schema": (5, _schema),
}
_QUERY_PARAMETER: dict[str, tuple[int, Encoder]] = {
    "required": (1, _text),
    "in": (2, _text),
    "name": (4, _text),
    "type": (6, _text),
}
_PATH_PARAMETER: dict[str, tuple[int, Encoder]] = {
    "required": (1, _text),
    "in": (2, _text),
    "name": (4, _text),
    "type": (5, _text),
}
_OPERATION: dict[str, tuple[int, Encoder]] = {
    "operationId": (5, _text),
    "produces": (6, _text),
    "consumes": (7, _text),
    "parameters": (8, _parameter),
    "responses": (9, _responses),
    "x-": (13, _any),
}
_PATH_ITEM: dict[str, tuple[int, Encoder]] = {
    "get": (2, _operation),
    "put": (3, _operation),
    "post": (4, _operation),
    "delete": (5, _operation),
    "patch": (8, _operation),
    "parameters": (9, _parameter),
}
_INFO: dict[str, tuple[int, Encoder]] = {"title": (1, _text), "version": (2, _text)}
_DOCUMENT: dict[str, tuple[int, Encoder]] = {
    "swagger": (1, _text),
    "info": (2, lambda value: _message(value, _INFO)),
    "paths": (8, _paths),
    "definitions": (9, _properties),
}
