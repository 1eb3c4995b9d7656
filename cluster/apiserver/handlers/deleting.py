"""DELETE: one object, or all of a collection that a selection matches."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from cluster.apiserver import bodies, encodings
from cluster.apiserver.context import Call, dry_run
from cluster.apiserver.handlers import parameters
from cluster.apiserver.http.messages import Request, Response
from cluster.apiserver.negotiation import body_type
from cluster.machinery import schema, status, strict
from cluster.machinery.codec import json_codec
from cluster.machinery.status import ApiError, Cause
from cluster.storage.entry import Entry
from cluster.storage.listing import Page
from cluster.storage.options import BACKGROUND, FOREGROUND, ORPHAN, DeleteOptions, Preconditions
from cluster.storage.registry import Written

POLICIES = (BACKGROUND, FOREGROUND, ORPHAN)
COLLECTION_WORKERS = 32
"""Objects of a collection that are deleted at once: their writes share the store's commits."""


async def delete(call: Call) -> Response:
    """A Status when the object is gone, the object itself while it is terminating."""
    shaper = call.shaper()
    options = read_options(call.request)
    await _admit(call, call.target.name, options)
    written = await call.registry.delete(call.namespace, call.target.name, options)
    if written.removed and not call.registry.strategy.returns_deleted:
        return encodings.reply(call.request, 200, _gone(call, written))
    return shaper.one(written.data)


async def _admit(call: Call, name: str, options: DeleteOptions) -> None:
    """Admission of the deletion of one object, as the cache knows it. 404 if there is none."""
    if options.dry_run and not call.dry_run:
        query = {**call.request.query, "dryRun": ["All"]}
        call = dataclasses.replace(call, request=dataclasses.replace(call.request, query=query))
    if call.target.name != name:
        call = dataclasses.replace(call, target=dataclasses.replace(call.target, name=name))
    entry = call.registry.cache.get(call.registry.key(call.namespace, name))
    if entry is None:
        old = json_codec.decode(await call.registry.get(call.namespace, name))
    else:
        old = entry.decode()
    await call.admit("delete", None, old)
    await call.judge("delete", None, old)


def _gone(call: Call, written: Written) -> dict[str, Any]:
    metadata = written.obj["metadata"]
    details = {"name": metadata["name"], "group": call.resource.group}
    details |= {"kind": call.resource.plural, "uid": metadata["uid"]}
    return status.success({k: v for k, v in details.items() if v})


async def delete_collection(call: Call) -> Response:
    """Delete what a list would show; answers with the list of what it deleted."""
    shaper = call.shaper()
    options = read_options(call.request)
    page = await call.kept.lister.list(parameters.list_options(call))
    waiting, kept = iter(page.entries), set[str]()

    async def worker() -> None:
        for entry in waiting:
            if not await _delete_one(call, entry, options):
                kept.add(entry.key)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(COLLECTION_WORKERS, len(page.entries))):
                group.create_task(worker())
    except* ApiError as errors:
        raise errors.exceptions[0] from None
    return shaper.many(Page(page.revision, [e for e in page.entries if e.key not in kept]))


async def _delete_one(call: Call, entry: Entry, options: DeleteOptions) -> bool:
    """Whether it was there. Raises ApiError if it may not be deleted."""
    namespace, name = entry.fields["metadata.namespace"], entry.fields["metadata.name"]
    try:
        await _admit(call, name, options)
        await call.registry.delete(namespace, name, options)
    except ApiError as error:
        if error.reason != "NotFound":
            raise
        return False
    return True


def read_options(request: Request) -> DeleteOptions:
    """DeleteOptions of the body, else of the query; 400 and 422 as upstream."""
    given = _from_body(request) if request.body else _from_query(request)
    return parse_options(given)


def parse_options(given: dict[str, Any]) -> DeleteOptions:
    """From the JSON form of DeleteOptions."""
    propagation, orphan = given.get("propagationPolicy"), given.get("orphanDependents")
    if propagation is not None and orphan is not None:
        message = "Invalid value: OrphanDependents and DeletionPropagation cannot be both set"
        _refuse(Cause("FieldValueInvalid", message, "propagationPolicy"))
    if propagation is not None and propagation not in POLICIES:
        supported = ", ".join(f'"{p}"' for p in (*POLICIES, "nil"))
        message = f'Unsupported value: "{propagation}": supported values: {supported}'
        _refuse(Cause("FieldValueNotSupported", message, "propagationPolicy"))
    if orphan is not None:
        propagation = ORPHAN if orphan else BACKGROUND
    wanted = given.get("preconditions") or {}
    grace_s = given.get("gracePeriodSeconds")
    return DeleteOptions(
        grace_s if grace_s is None or grace_s >= 0 else 1,
        propagation or "",
        Preconditions(wanted.get("uid") or "", wanted.get("resourceVersion") or ""),
        dry_run(given.get("dryRun") or []),
    )


def _refuse(cause: Cause) -> None:
    raise status.invalid("DeleteOptions.meta.k8s.io", "", [cause])


def _from_body(request: Request) -> dict[str, Any]:
    media_type = body_type(request.headers.get("content-type", ""))
    given = bodies.decode(request.body, media_type, "DeleteOptions")
    if given.get("kind", "DeleteOptions") != "DeleteOptions":
        raise status.bad_request("the body of a DELETE must be of kind DeleteOptions")
    type_name = schema.type_for("v1", "DeleteOptions")
    assert type_name is not None
    wrong = strict.check_types(given, type_name)
    if wrong:
        raise status.bad_request(f"DeleteOptions: {wrong[0]}")
    dry = request.query.get("dryRun")
    return given | {"dryRun": dry} if dry else given


def _from_query(request: Request) -> dict[str, Any]:
    given: dict[str, Any] = {"dryRun": request.query.get("dryRun") or []}
    text = request.parameter("gracePeriodSeconds")
    if text:
        given["gracePeriodSeconds"] = parameters.integer(text)
    if request.parameter("propagationPolicy"):
        given["propagationPolicy"] = request.parameter("propagationPolicy")
    if request.parameter("orphanDependents"):
        given["orphanDependents"] = request.flag("orphanDependents")
    return given
