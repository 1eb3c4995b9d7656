"""Kubernetes protobuf: the `k8s\\0` envelope round a message, as objects in the form of JSON."""

from __future__ import annotations

from typing import Any

from cluster.machinery import schema
from cluster.machinery.codec import special, wire
from cluster.machinery.codec.plans import SCALARS, SPECIAL, Plan, Slot, inline_plan, plan
from cluster.machinery.errors import BadRequest

MAGIC = b"k8s\x00"
MAX_DEPTH = 64
"""Of messages in messages; only JSON schemas nest at all, and none is as deep."""


def decode(body: bytes) -> dict[str, Any]:
    """The object in an envelope; BadRequest when it is malformed or its kind is unknown."""
    api_version, kind, raw = _open(body)
    type_name = schema.type_for(api_version, kind)
    if type_name is None:
        raise BadRequest(f'no kind "{kind}" is registered for version "{api_version}"')
    return {"apiVersion": api_version, "kind": kind} | decode_message(raw, type_name)


def encode(obj: dict[str, Any]) -> bytes:
    """The envelope round an object; BadRequest when its kind is unknown or a value unfit."""
    api_version, kind = str(obj.get("apiVersion")), str(obj.get("kind"))
    type_name = schema.type_for(api_version, kind)
    if type_name is None:
        raise BadRequest(f'no kind "{kind}" is registered for version "{api_version}"')
    return envelope(api_version, kind, encode_message(obj, type_name))


def envelope(api_version: str, kind: str, message: bytes) -> bytes:
    """The magic bytes and a runtime.Unknown that says what the message is."""
    type_meta = wire.delimited(1, api_version.encode()) + wire.delimited(2, kind.encode())
    body = wire.delimited(1, type_meta) + wire.delimited(2, message)
    return MAGIC + body + wire.delimited(3, b"") + wire.delimited(4, b"")


def watch_frame(type_: str, enveloped: bytes) -> bytes:
    """A WatchEvent (type = 1, object = 2, a RawExtension) behind its length, 4 bytes big-endian.

    It has no envelope of its own, as upstream's raw serializer.
    """
    raw = wire.delimited(1, enveloped)
    message = wire.delimited(1, type_.encode()) + wire.delimited(2, raw)
    return len(message).to_bytes(4, "big") + message


def _open(body: bytes) -> tuple[str, str, bytes]:
    """(apiVersion, kind, message) of a runtime.Unknown."""
    if not body.startswith(MAGIC):
        raise BadRequest("provided data does not appear to be a protobuf message")
    parts: dict[int, bytes] = {}
    for number, _, value in wire.fields(body[len(MAGIC) :]):
        if isinstance(value, bytes):
            parts[number] = value
    type_meta = {n: v for n, _, v in wire.fields(parts.get(1, b"")) if isinstance(v, bytes)}
    return _text(type_meta.get(1, b"")), _text(type_meta.get(2, b"")), parts.get(2, b"")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"protobuf: {error}") from error


# --- decoding ---


def decode_message(data: bytes, type_name: str, depth: int = 0) -> dict[str, Any]:
    """The fields of a message of an API type."""
    out: dict[str, Any] = {}
    _decode_into(out, data, plan(type_name), type_name, depth)
    return out


def _decode_into(
    out: dict[str, Any], data: bytes, message: Plan, type_name: str, depth: int
) -> None:
    if depth > MAX_DEPTH:
        raise BadRequest("protobuf: the message is nested too deeply")
    for number, kind, value in wire.fields(data):
        slot = message.slots.get(number)
        if slot is None:
            continue
        if slot.inline:
            inner = inline_plan(type_name, slot.wire)
            name = slot.wire if schema.find(slot.wire) else type_name
            _decode_into(out, _bytes(value), inner, name, depth + 1)
        else:
            _store(out, slot, kind, value, depth)


def _store(out: dict[str, Any], slot: Slot, kind: int, value: wire.Value, depth: int) -> None:
    if slot.label == "map":
        key, item = _map_entry(_bytes(value), slot.wire, depth)
        out.setdefault(slot.name, {})[key] = item
    elif slot.label == "repeated":
        out.setdefault(slot.name, []).extend(_elements(slot.wire, kind, value, depth))
    else:
        item = _value(slot.wire, kind, value, depth)
        if _counts(item, slot):
            out[slot.name] = item


def _counts(item: Any, slot: Slot) -> bool:
    """Zeros that Go writes for every plain field are left out; an empty message is kept."""
    if item is None:
        return False
    if isinstance(item, dict | list) or item or slot.keep_zero:
        return True
    return slot.wire in SPECIAL and item != ""


def _elements(name: str, kind: int, value: wire.Value, depth: int) -> list[Any]:
    """One element, or several of a packed field of numbers."""
    packed = kind == wire.BYTES and name in ("int32", "int64", "bool")
    if not packed:
        return [_value(name, kind, value, depth)]
    data, at, out = _bytes(value), 0, []
    while at < len(data):
        number, at = wire.read_varint(data, at)
        out.append(_value(name, wire.VARINT, number, depth))
    return out


def _map_entry(data: bytes, name: str, depth: int) -> tuple[str, Any]:
    element = map_element(name)
    key, item = "", None
    for number, kind, value in wire.fields(data):
        if number == 1:
            key = _text(_bytes(value))
        elif number == 2:
            item = _value(element, kind, value, depth)
    return key, _value(element, *_empty(element), depth) if item is None else item


def _empty(name: str) -> tuple[int, wire.Value]:
    """The wire form of a value that was left out of a map's entry."""
    if name in ("int32", "int64", "bool"):
        return wire.VARINT, 0
    return (wire.FIXED64, 0) if name == "double" else (wire.BYTES, b"")


def map_element(name: str) -> str:
    """ "X" of "map<string, X>"."""
    return name.removeprefix("map<string, ").removesuffix(">")


def _bytes(value: wire.Value) -> bytes:
    if not isinstance(value, bytes):
        raise BadRequest("protobuf: wrong wire type for a message, a string or bytes")
    return value


def _value(name: str, kind: int, value: wire.Value, depth: int) -> Any:
    if name in SCALARS:
        return _scalar(name, kind, value)
    if name in SPECIAL:
        return special.decode(name, _bytes(value), depth)
    return decode_message(_bytes(value), name, depth + 1)


def _scalar(name: str, kind: int, value: wire.Value) -> Any:
    if name == "string":
        return _text(_bytes(value))
    if name == "bytes":
        return special.base64_text(_bytes(value))
    if isinstance(value, bytes) or (kind == wire.FIXED64) != (name == "double"):
        raise BadRequest(f"protobuf: wrong wire type {kind} for {name}")
    if name == "double":
        return wire.double(value)
    if name == "bool":
        return value != 0
    return wire.signed(value, 32 if name == "int32" else 64)


# --- encoding ---


def encode_message(obj: dict[str, Any], type_name: str) -> bytes:
    """The message of an object of an API type; null and unknown fields are left out."""
    return _encode_plan(obj, plan(type_name), type_name)


def _encode_plan(obj: dict[str, Any], message: Plan, type_name: str) -> bytes:
    parts = []
    for slot in message.slots.values():
        if slot.inline:
            name = slot.wire if schema.find(slot.wire) else type_name
            inner = _encode_plan(obj, inline_plan(type_name, slot.wire), name)
            if inner:
                parts.append(wire.delimited(slot.number, inner))
        elif obj.get(slot.name) is not None:
            parts.append(_encode_slot(slot, obj[slot.name]))
    return b"".join(parts)


def _encode_slot(slot: Slot, value: Any) -> bytes:
    try:
        if slot.label == "map":
            element = map_element(slot.wire)
            return b"".join(
                wire.delimited(slot.number, _entry(element, key, item))
                for key, item in value.items()
            )
        if slot.label == "repeated":
            return b"".join(encode_value(slot.number, slot.wire, item) for item in value)
        return encode_value(slot.number, slot.wire, value)
    except (TypeError, ValueError, AttributeError) as error:
        raise BadRequest(f"protobuf: {slot.name}: {error}") from error


def _entry(element: str, key: str, item: Any) -> bytes:
    value = b"" if item is None else encode_value(2, element, item)
    return wire.delimited(1, key.encode()) + value


def encode_value(number: int, name: str, value: Any) -> bytes:
    """One field with its tag."""
    if name == "string":
        return wire.delimited(number, str(value).encode())
    if name == "bytes":
        return wire.delimited(number, special.base64_bytes(value))
    if name == "double":
        return wire.double_field(number, float(value))
    if name in SCALARS:
        return wire.number_field(number, int(value))
    if name in SPECIAL:
        return wire.delimited(number, special.encode(name, value))
    return wire.delimited(number, encode_message(value, name))
