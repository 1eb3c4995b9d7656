"""PATCH with an apply configuration: server-side apply, which creates what is not there."""

from __future__ import annotations

from typing import Any

from cluster.apiserver import bodies, field_managers
from cluster.apiserver.bodies import Object
from cluster.apiserver.context import Call
from cluster.apiserver.handlers.writing import place
from cluster.apiserver.http.messages import Request, Response
from cluster.apiserver.negotiation import YAML
from cluster.machinery import apply, status
from cluster.machinery.apply import ApplyConflict, Writer
from cluster.machinery.codec import json_codec, yaml_codec
from cluster.machinery.errors import BadRequest
from cluster.machinery.status import ApiError
from cluster.storage.registry import Written

APPLY_YAML = "application/apply-patch+yaml"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
KUBECTL = "kubectl"
ATTEMPTS = 4
MAX_ANNOTATION_BYTES = 256 * 1024


async def apply_patch(call: Call) -> Response:
    """The object as it is after the apply: 201 if it is new, 409 with causes on conflicts."""
    shaper = call.shaper()
    writer = field_managers.writer(call)
    config = read(call)
    for attempt in range(ATTEMPTS):
        try:
            written = await _update(call, config, writer)
            break
        except ApiError as error:
            if error.reason != "NotFound" or call.target.subresource:
                raise
        try:
            written = await _create(call, config, writer)
            break
        except ApiError as error:
            if error.reason != "AlreadyExists" or attempt == ATTEMPTS - 1:
                raise  # somebody else was quicker: apply onto theirs
    return shaper.one(written.data, 201 if written.created else 200)


async def _update(call: Call, config: Object, writer: Writer) -> Written:
    async def change(live: Object) -> Object:
        merged = onto(call, live, config, writer)
        new = bodies.conform(call.request, merged, [], call.kept.form)
        await call.admit("update", new, live)
        return new

    return await call.registry.update(
        call.namespace,
        call.target.name,
        change,
        subresource=call.target.subresource,
        dry_run=call.dry_run,
        judge=call.judging("update"),
    )


async def _create(call: Call, config: Object, writer: Writer) -> Written:
    metadata = config["metadata"]
    if metadata.get("uid") or metadata.get("resourceVersion"):
        what = "uid" if metadata.get("uid") else "resourceVersion"
        text = f"{what} mismatch: the provided object specified {what} {metadata[what]}, and no "
        raise status.conflict(call.resource, call.target.name, text + "existing object was found")
    new = onto(call, None, config, writer)
    obj = bodies.conform(call.request, new, [], call.kept.form)
    await call.admit("create", obj, None)
    return await call.registry.create(obj, dry_run=call.dry_run, judge=call.judging("create"))


def onto(call: Call, live: Object | None, config: Object, writer: Writer) -> Object:
    """The live object with the configuration applied; ApiError 409 on conflicts, 400 on bad lists.

    What client-side apply set, kubectl may take over when it comes the server's way, and its
    annotation is kept up to date, so that kubectl can go back.
    """
    new = _merged(call, live, config, writer)
    annotations = new["metadata"].get("annotations") or {}
    if writer.manager == KUBECTL and LAST_APPLIED in annotations:
        annotations = {k: v for k, v in annotations.items() if k != LAST_APPLIED}
        text = _annotation(config)
        if len(text) <= MAX_ANNOTATION_BYTES:
            annotations[LAST_APPLIED] = text
        new["metadata"]["annotations"] = annotations
    return new


def _annotation(config: Object) -> str:
    """The configuration as client-side apply would note it."""
    metadata = dict(config["metadata"])
    notes = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != LAST_APPLIED}
    metadata["annotations"] = notes
    return json_codec.encode({**config, "metadata": metadata}).decode() + "\n"


def _merged(call: Call, live: Object | None, config: Object, writer: Writer) -> Object:
    versions, force = call.kept.versions, call.request.flag("force")
    try:
        try:
            return apply.applied(live, config, writer, versions, force=force)
        except ApplyConflict as error:
            annotated = _last_applied(live) if writer.manager == KUBECTL else None
            if live is None or annotated is None:
                raise
            if not apply.last_applied(error, live, annotated, writer, versions):
                raise
            return apply.applied(live, config, writer, versions, force=True)
    except ApplyConflict as error:
        causes = [
            {"reason": "FieldManagerConflict", "message": message, "field": field}
            for field, message in error.causes()
        ]
        raise status.failure(409, "Conflict", str(error), {"causes": causes}) from error
    except ValueError as error:
        kind = f"{call.resource.api_version}, Kind={call.resource.kind}"
        shown = f"{call.namespace}/{call.target.name}" if call.namespace else call.target.name
        text = f"failed to create typed patch object ({shown}; {kind}): {error}"
        raise status.bad_request(text) from error


def _last_applied(live: Object | None) -> Object | None:
    text = ((live or {}).get("metadata", {}).get("annotations") or {}).get(LAST_APPLIED)
    if not text:
        return None
    try:
        return json_codec.decode(text.encode())
    except BadRequest:
        return None


def read(call: Call) -> Object:
    """The configuration: checked, but without defaults, which nobody has asked for."""
    config = document(call.request)
    doubles = bodies.duplicates(call.request, YAML, config)
    resource, name = call.resource, call.target.name
    for field, expected in (("apiVersion", resource.api_version), ("kind", resource.kind)):
        if config.get(field) != expected:
            raise status.bad_request(
                f"incorrect {field} specified in apply patch. Specified patch {field}: "
                f"{config.get(field, '')}, expected: {expected}"
            )
    metadata = config.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        raise status.bad_request("metadata must be an object")
    if metadata.get("managedFields") is not None:
        raise status.bad_request("metadata.managedFields must be nil")
    bodies.checked(call.request, config, doubles, call.kept.form)
    place(call, config)
    if metadata.setdefault("name", name) != name:
        raise status.bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL "
            f"({name})"
        )
    return config


def document(request: Request) -> dict[str, Any]:
    """The body as an object; 422 without a manager's name."""
    if not request.parameter("fieldManager"):
        text = "Required value: is required for apply patch"
        raise field_managers.refused("FieldValueRequired", text, "fieldManager")
    if request.body.lstrip()[:1] == b"{":  # kubectl sends JSON, which is YAML, and quicker
        try:
            return json_codec.decode(request.body)
        except BadRequest:
            pass
    return yaml_codec.decode(request.body)
