"""Messages whose JSON form is not an object of their fields: times, quantities, raw JSON."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

import orjson

from cluster.machinery import meta, schema
from cluster.machinery.codec import wire
from cluster.machinery.errors import BadRequest

_SCHEMA_PROPS = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
SECONDS_MIN, SECONDS_MAX = -62135596800, 253402300799
"""Years 1 to 9999, all that RFC 3339 can say."""


def base64_text(data: bytes) -> str:
    """Bytes as JSON carries them."""
    return base64.b64encode(data).decode()


def base64_bytes(text: str) -> bytes:
    """What `base64_text` made; BadRequest for other text."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise BadRequest(f"illegal base64 data: {error}") from error


def decode(name: str, data: bytes, depth: int) -> Any:
    """The JSON value of such a message; None where Go would print null."""
    return _FORMS[_short(name)][0](name, data, depth)


def encode(name: str, value: Any) -> bytes:
    """The message of such a JSON value."""
    return _FORMS[_short(name)][1](name, value)


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _parts(data: bytes) -> dict[int, wire.Value]:
    return {number: value for number, _, value in wire.fields(data)}


def _int(value: wire.Value | None) -> int:
    if isinstance(value, bytes):
        raise BadRequest("protobuf: wrong wire type for a number")
    return wire.signed(value or 0)


def _raw(value: wire.Value | None) -> bytes:
    if isinstance(value, int):
        raise BadRequest("protobuf: wrong wire type for bytes")
    return value or b""


def _decode_time(name: str, data: bytes, _: int) -> str | None:
    if not data:
        return None
    parts = _parts(data)
    seconds = _int(parts.get(1))
    if not SECONDS_MIN <= seconds <= SECONDS_MAX:
        raise BadRequest("protobuf: a time is out of range")
    if name != schema.MICRO_TIME:
        return meta.format_time(seconds)
    micros = _int(parts.get(2)) // 1000
    return f"{meta.format_time(seconds)[:-1]}.{micros:06d}Z"


def _encode_time(name: str, value: str) -> bytes:
    seconds, micros = divmod(meta.parse_micros(value), 10**6)
    nanos = micros * 1000 if name == schema.MICRO_TIME else 0
    return wire.number_field(1, seconds) + wire.number_field(2, nanos)


def _decode_quantity(_: str, data: bytes, __: int) -> str:
    return _decoded(_raw(_parts(data).get(1)))


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"protobuf: {error}") from error


def _encode_quantity(_: str, value: str | int) -> bytes:
    return wire.delimited(1, str(value).encode())


def _decode_int_or_string(_: str, data: bytes, __: int) -> int | str:
    parts = _parts(data)
    if _int(parts.get(1)) == 1:
        return _decoded(_raw(parts.get(3)))
    return wire.signed(_int(parts.get(2)), 32)


def _encode_int_or_string(_: str, value: int | str) -> bytes:
    if isinstance(value, int):
        return wire.number_field(1, 0) + wire.number_field(2, value) + wire.delimited(3, b"")
    return wire.number_field(1, 1) + wire.number_field(2, 0) + wire.delimited(3, value.encode())


def _decode_raw(_: str, data: bytes, depth: int) -> Any:
    """JSON in bytes; a nested object may also be an envelope of its own."""
    from cluster.machinery.codec import protobuf

    raw = _raw(_parts(data).get(1))
    if raw.startswith(protobuf.MAGIC):
        if depth > protobuf.MAX_DEPTH:
            raise BadRequest("protobuf: the message is nested too deeply")
        return protobuf.decode(raw)
    try:
        return orjson.loads(raw) if raw else None
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"protobuf: invalid JSON: {error}") from error


def _encode_raw(_: str, value: Any) -> bytes:
    return wire.delimited(1, orjson.dumps(value))


def _decode_items(_: str, data: bytes, __: int) -> list[str]:
    return [_decoded(_raw(value)) for number, _, value in wire.fields(data) if number == 1]


def _encode_items(_: str, value: list[str]) -> bytes:
    return b"".join(wire.delimited(1, item.encode()) for item in value)


def _decode_duration(_: str, data: bytes, __: int) -> str:
    return f"{_int(_parts(data).get(1)) / 10**9:g}s"


def _encode_duration(_: str, value: str) -> bytes:
    return wire.number_field(1, round(float(value.removesuffix("s")) * 10**9))


def _props(data: bytes, depth: int) -> dict[str, Any]:
    from cluster.machinery.codec import protobuf

    return protobuf.decode_message(data, _SCHEMA_PROPS, depth + 1)


def _encoded_props(value: dict[str, Any]) -> bytes:
    from cluster.machinery.codec import protobuf

    return protobuf.encode_message(value, _SCHEMA_PROPS)


def _decode_props_or(name: str, data: bytes, depth: int) -> Any:
    """A schema, or else what the type's name says: a list of schemas, texts, or a boolean."""
    kind, many, allows = name.partition("PropsOr")[2], [], False
    for number, _, value in wire.fields(data):
        if (number == 2) == (kind == "Bool") and isinstance(value, bytes):
            return _props(value, depth)
        many.append(value)
        allows = value == 1
    if kind == "Bool":
        return allows
    return [_props(_raw(v), depth) if kind == "Array" else _decoded(_raw(v)) for v in many]


def _encode_props_or(name: str, value: Any) -> bytes:
    kind = name.partition("PropsOr")[2]
    if kind == "Bool":
        if isinstance(value, bool):
            return wire.number_field(1, value)
        return wire.number_field(1, 1) + wire.delimited(2, _encoded_props(value))
    if isinstance(value, dict):
        return wire.delimited(1, _encoded_props(value))
    encoded = [_encoded_props(v) if kind == "Array" else v.encode() for v in value]
    return b"".join(wire.delimited(2, item) for item in encoded)


_Decode = Callable[[str, bytes, int], Any]
_Encode = Callable[[str, Any], bytes]
_FORMS: dict[str, tuple[_Decode, _Encode]] = {
    "Time": (_decode_time, _encode_time),
    "MicroTime": (_decode_time, _encode_time),
    "Quantity": (_decode_quantity, _encode_quantity),
    "IntOrString": (_decode_int_or_string, _encode_int_or_string),
    "RawExtension": (_decode_raw, _encode_raw),
    "FieldsV1": (_decode_raw, _encode_raw),
    "JSON": (_decode_raw, _encode_raw),
    "Verbs": (_decode_items, _encode_items),
    "ExtraValue": (_decode_items, _encode_items),
    "Duration": (_decode_duration, _encode_duration),
    "JSONSchemaPropsOrArray": (_decode_props_or, _encode_props_or),
    "JSONSchemaPropsOrBool": (_decode_props_or, _encode_props_or),
    "JSONSchemaPropsOrStringArray": (_decode_props_or, _encode_props_or),
}
