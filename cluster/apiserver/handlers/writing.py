"""POST and PUT: create and replace."""

from __future__ import annotations

from cluster.apiserver import field_managers
from cluster.apiserver.bodies import Object
from cluster.apiserver.context import Call
from cluster.apiserver.http.messages import Response
from cluster.machinery import status
from cluster.machinery.status import ApiError
from cluster.storage import encoding


async def create(call: Call) -> Response:
    """Store a new object: 201 with it as it is stored."""
    shaper = call.shaper()
    obj = call.read_body()
    place(call, obj)
    field_managers.track(call, obj, None)
    await call.admit("create", obj, None)
    written = await call.registry.create(obj, dry_run=call.dry_run, judge=call.judging("create"))
    return shaper.one(written.data, 201)


async def update(call: Call) -> Response:
    """Replace an object, or its status; a few resources may be created this way."""
    shaper = call.shaper()
    obj = call.read_body()
    place(call, obj)
    name = obj["metadata"].setdefault("name", call.target.name)
    if name != call.target.name:
        raise status.bad_request(
            f"the name of the object ({name}) does not match the name on the URL "
            f"({call.target.name})"
        )
    try:
        written = await call.registry.update(
            call.namespace,
            name,
            lambda old: replaced(call, obj, old),
            subresource=call.target.subresource,
            dry_run=call.dry_run,
            judge=call.judging("update"),
        )
    except ApiError as error:
        if error.reason != "NotFound" or not _may_create(call, obj):
            raise
        field_managers.track(call, obj, None)
        await call.admit("create", obj, None)
        written = await call.registry.create(
            obj, dry_run=call.dry_run, judge=call.judging("create")
        )
    return shaper.one(written.data, 201 if written.created else 200)


async def replaced(call: Call, obj: Object, old: Object) -> Object:
    """A copy of the wanted object, admitted; a retry starts from the client's own again."""
    new = encoding.copied(obj)
    field_managers.track(call, new, old)
    await call.admit("update", new, old)
    return new


def _may_create(call: Call, obj: Object) -> bool:
    metadata = obj["metadata"]
    unseen = not metadata.get("resourceVersion") and not metadata.get("uid")
    return call.registry.strategy.creates_on_update and unseen and not call.target.subresource


def place(call: Call, obj: Object) -> None:
    """Put the namespace of the path into the object; 400 if it names another."""
    metadata = obj["metadata"]
    if not call.resource.namespaced:
        metadata.pop("namespace", None)
        return
    if not call.namespace:
        raise status.bad_request("an empty namespace may not be set during creation")
    if metadata.get("namespace", call.namespace) not in ("", call.namespace):
        raise status.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    metadata["namespace"] = call.namespace
