"""`/scale`: the autoscaling/v1 Scale of an object, read and written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from cluster.apiserver import bodies, field_managers
from cluster.apiserver.bodies import Object
from cluster.apiserver.context import Call
from cluster.apiserver.handlers import applying, patching
from cluster.apiserver.http.messages import Response
from cluster.machinery import printing, status
from cluster.machinery.codec import json_codec
from cluster.machinery.scale import API_VERSION, KIND
from cluster.machinery.status import Cause
from cluster.storage import encoding
from cluster.storage.registry import Judge


async def get(call: Call) -> Response:
    data = await call.registry.get(call.namespace, call.target.name)
    return _answer(call, json_codec.decode(data))


async def update(call: Call) -> Response:
    """PUT of a Scale: sets the replicas that are wanted."""
    wanted = bodies.read(call.request, API_VERSION, KIND)
    return await _write(call, lambda scale: wanted)


async def patch(call: Call) -> Response:
    """PATCH of a Scale."""
    if patching.media_type(call.request) == applying.APPLY_YAML:
        return await _apply(call)
    asked = patching.parse(call.request, API_VERSION, KIND)
    return await _write(
        call, lambda scale: patching.conform(call.request, asked.apply(scale), scale)
    )


async def _write(call: Call, wanted: Any) -> Response:
    async def change(obj: Object) -> Object:
        scale = wanted(call.kept.scale.scale_of(obj, unset=0))
        version = scale["metadata"].get("resourceVersion")
        if version and version != obj["metadata"]["resourceVersion"]:
            raise status.conflict(call.resource, call.target.name)
        replicas = (scale.get("spec") or {}).get("replicas", 0)
        if replicas < 0:
            message = f"Invalid value: {replicas}: must be greater than or equal to 0"
            cause = Cause("FieldValueInvalid", message, "spec.replicas")
            raise status.invalid("Scale.autoscaling", call.target.name, [cause])
        old = encoding.copied(obj)
        call.kept.scale.set_replicas(obj, replicas)
        field_managers.track(call, obj, old)
        await call.admit("update", scale, call.kept.scale.scale_of(old, unset=0))
        call.kept.scale.set_replicas(obj, (scale.get("spec") or {}).get("replicas", 0))
        return obj

    return await _written(call, change)


async def _written(call: Call, change: Callable[[Object], Awaitable[Object]]) -> Response:
    """The scale of the object as `change` has made it."""
    written = await call.registry.update(
        call.namespace,
        call.target.name,
        change,
        subresource="scale",
        dry_run=call.dry_run,
        judge=_judge(call),
    )
    return _answer(call, written.obj)


async def _apply(call: Call) -> Response:
    """Apply of a Scale: its replicas are those of the object, and so are their managers."""
    scale = applying.document(call.request)
    bodies.require_kind(scale, API_VERSION, KIND)
    bodies.checked(call.request, scale, [])
    config: Object = {"apiVersion": call.resource.api_version, "kind": call.resource.kind}
    config |= {"metadata": {"name": call.target.name}}
    if "replicas" in (scale.get("spec") or {}):
        call.kept.scale.set_replicas(config, scale["spec"]["replicas"])
    writer = field_managers.writer(call)

    async def change(obj: Object) -> Object:
        new = applying.onto(call, obj, config, writer)
        scale = call.kept.scale.scale_of(new, unset=0)
        await call.admit("update", scale, call.kept.scale.scale_of(obj, unset=0))
        call.kept.scale.set_replicas(new, (scale.get("spec") or {}).get("replicas", 0))
        return new

    return await _written(call, change)


def _judge(call: Call) -> Judge:
    """Admission sees scales, not what is scaled."""

    async def judge(new: Object, old: Object | None) -> None:
        assert old is not None
        scales = [call.kept.scale.scale_of(each, unset=0) for each in (new, old)]
        await call.judge("update", *scales)

    return judge


def _answer(call: Call, obj: Object) -> Response:
    return call.shaper(printing.SCALE, typed=True).one(json_codec.encode(scale_of(call, obj)))


def scale_of(call: Call, obj: Object) -> Object:
    """500 if the object does not say how many replicas it wants, as upstream."""
    try:
        return call.kept.scale.scale_of(obj)
    except KeyError as error:
        text = f'the spec replicas field "{error.args[0]}" does not exist'
        raise status.internal_error(text) from None
