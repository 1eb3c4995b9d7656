"""PATCH: JSON, merge and strategic merge patches, made on the newest version of the object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cluster.apiserver import bodies
from cluster.apiserver.bodies import Object
from cluster.apiserver.context import Call
from cluster.apiserver.http.messages import Request, Response
from cluster.machinery import schema, status, strict
from cluster.machinery.codec import json_codec, yaml_codec
from cluster.machinery.errors import BadRequest
from cluster.machinery.kinds import Kind
from cluster.machinery.patch import json_patch, merge_patch, strategic

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
SUPPORTED = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH)

Apply = Callable[[Object], Object]


async def patch(call: Call) -> Response:
    """Change an object, or its status, by a patch."""
    shaper = call.shaper()
    apply = parse(call.request, call.resource.api_version, call.resource.kind)

    async def change(old: Object) -> Object:
        new = conform(call.request, apply(old), old, call.kept.form)
        await call.admit("update", new, old)
        return new

    written = await call.registry.update(
        call.namespace,
        call.target.name,
        change,
        subresource=call.target.subresource,
        dry_run=call.dry_run,
    )
    return shaper.one(written.data)


def parse(request: Request, api_version: str, kind: str) -> Apply:
    """The patch as a function. 415 for unknown types of patches, 400 for malformed ones."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in SUPPORTED:
        raise _unsupported(media_type)
    document = _document(request)
    if media_type == JSON_PATCH:
        return lambda old: _object(json_patch.apply(old, document))
    if not isinstance(document, dict):
        raise status.bad_request("a merge patch must be an object")
    if media_type == MERGE_PATCH:
        return lambda old: _object(merge_patch.apply(old, document))
    type_name = schema.type_for(api_version, kind)
    if type_name is None:
        raise _unsupported(media_type)
    return lambda old: strategic.apply(old, document, type_name)


def _document(request: Request) -> Any:
    try:
        document = json_codec.decode_any(request.body)
    except BadRequest:
        document = _from_yaml(request.body)
    if isinstance(document, dict):
        mode = bodies.field_validation(request)
        if mode != bodies.IGNORE and request.body.lstrip()[:1] == b"{":
            bodies.report(request, strict.duplicate_fields(request.body))
    return document


def _from_yaml(body: bytes) -> Any:
    """JSON is what clients send; YAML is accepted where it is an object."""
    if body.lstrip()[:1] in (b"{", b"[", b""):
        raise status.bad_request("error decoding patch: invalid JSON")
    return yaml_codec.decode(body)


def _unsupported(media_type: str) -> status.ApiError:
    error = status.unsupported_media_type(SUPPORTED)
    if media_type == APPLY_PATCH:
        text = "server-side apply is not supported by this server yet; use client-side apply: "
        error.status["message"] = text + error.message
    return error


def _object(value: Any) -> Object:
    if not isinstance(value, dict):
        raise status.bad_request("the patched document is not an object")
    return value


def conform(request: Request, new: Object, old: Object, form: Kind | None = None) -> Object:
    """The outcome of a patch, checked like a body; kind, names and uid must still be there."""
    bodies.require_kind(new, old["apiVersion"], old["kind"])
    metadata = new.get("metadata")
    if not isinstance(metadata, dict):
        raise status.bad_request("metadata must be an object")
    for field in ("name", "namespace"):
        if metadata.get(field) != old["metadata"].get(field):
            shown = metadata.get(field)
            raise status.bad_request(
                f"the {field} of the object ({shown}) does not match the {field} on the URL "
                f"({old['metadata'].get(field)})"
            )
    warnings = list(request.warnings)
    conformed = bodies.conform(request, new, [], form)
    request.warnings[:] = list(dict.fromkeys([*warnings, *request.warnings]))
    return conformed
