"""PATCH: JSON, merge, strategic merge and apply, made on the newest version of the object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cluster.apiserver import bodies, field_managers
from cluster.apiserver.bodies import Object
from cluster.apiserver.context import Call
from cluster.apiserver.handlers.applying import APPLY_YAML, apply_patch
from cluster.apiserver.http.messages import Request, Response
from cluster.machinery import schema, status, strict
from cluster.machinery.codec import json_codec, yaml_codec
from cluster.machinery.errors import BadRequest
from cluster.machinery.kinds import Kind
from cluster.machinery.patch import json_patch, merge_patch, strategic

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
SUPPORTED = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_YAML)

Apply = Callable[[Object], Object]


@dataclass(frozen=True)
class Patch:
    """`apply` makes it on an object. `parts`: the fields of the object that it names, so that the
    others are as they were stored; None if that is not known.
    """

    apply: Apply
    parts: frozenset[str] | None = None


async def patch(call: Call) -> Response:
    """Change an object, or its status, by a patch."""
    if media_type(call.request) == APPLY_YAML:
        return await apply_patch(call)
    shaper = call.shaper()
    asked = parse(call.request, call.resource.api_version, call.resource.kind)

    async def change(old: Object) -> Object:
        new = asked.apply(_patchable(call.request, old))
        new = conform(call.request, new, old, call.kept.form, asked.parts)
        field_managers.track(call, new, old)
        await call.admit("update", new, old)
        return new

    written = await call.registry.update(
        call.namespace,
        call.target.name,
        change,
        subresource=call.target.subresource,
        dry_run=call.dry_run,
        judge=call.judging("update"),
    )
    return shaper.one(written.data)


def media_type(request: Request) -> str:
    """What kind of patch it is; 415 for unknown ones."""
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found not in SUPPORTED:
        raise status.unsupported_media_type(SUPPORTED)
    return found


def _patchable(request: Request, old: Object) -> Object:
    """What a patch is made on: without managedFields, unless they are what it changes."""
    if b"managedFields" in request.body:
        return old
    metadata = {k: v for k, v in old["metadata"].items() if k != "managedFields"}
    return {**old, "metadata": metadata}


def parse(request: Request, api_version: str, kind: str) -> Patch:
    """The patch of a request. 415 for unknown types of patches, 400 for malformed ones."""
    type_ = media_type(request)
    if request.parameter("force"):
        text = "Forbidden: may not be specified for non-apply patch"
        raise field_managers.refused("FieldValueForbidden", text, "force")
    document = _document(request)
    if type_ == JSON_PATCH:
        if not isinstance(document, list):
            raise status.bad_request("a JSON patch must be a list of operations")
        return Patch(lambda old: _object(json_patch.apply(old, document)))
    if not isinstance(document, dict):
        raise status.bad_request("a merge patch must be an object")
    parts = None if any(name.startswith("$") for name in document) else frozenset(document)
    if type_ == MERGE_PATCH:
        return Patch(lambda old: _object(merge_patch.apply(old, document)), parts)
    type_name = schema.type_for(api_version, kind)
    if type_name is None:
        raise status.unsupported_media_type((JSON_PATCH, MERGE_PATCH, APPLY_YAML))
    return Patch(lambda old: strategic.apply(old, document, type_name), parts)


def _document(request: Request) -> Any:
    try:
        document = json_codec.decode_any(request.body)
    except BadRequest:
        document = _from_yaml(request.body)
    if isinstance(document, dict):
        mode = bodies.field_validation(request)
        if mode != bodies.IGNORE and request.body.lstrip()[:1] == b"{":
            bodies.report(request, strict.duplicate_fields(request.body, document))
    return document


def _from_yaml(body: bytes) -> Any:
    """JSON is what clients send; YAML is accepted where it is an object."""
    if body.lstrip()[:1] in (b"{", b"[", b""):
        raise status.bad_request("error decoding patch: invalid JSON")
    return yaml_codec.decode(body)


def _object(value: Any) -> Object:
    if not isinstance(value, dict):
        raise status.bad_request("the patched document is not an object")
    return value


def conform(
    request: Request,
    new: Object,
    old: Object,
    form: Kind | None = None,
    parts: frozenset[str] | None = None,
) -> Object:
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
    conformed = bodies.conform(request, new, [], form, parts)
    request.warnings[:] = list(dict.fromkeys([*warnings, *request.warnings]))
    return conformed
