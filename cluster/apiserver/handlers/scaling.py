"""`/scale` of workloads: the autoscaling/v1 Scale of an object, read and written."""

from __future__ import annotations

from typing import Any

from cluster.apiserver import bodies
from cluster.apiserver.bodies import Object
from cluster.apiserver.context import Call
from cluster.apiserver.handlers import patching
from cluster.apiserver.http.messages import Response
from cluster.machinery import selectors, status
from cluster.machinery.codec import json_codec
from cluster.machinery.status import Cause

API_VERSION, KIND = "autoscaling/v1", "Scale"
COPIED = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


async def get(call: Call) -> Response:
    data = await call.registry.get(call.namespace, call.target.name)
    return _answer(json_codec.decode(data))


async def update(call: Call) -> Response:
    """PUT of a Scale: sets spec.replicas."""
    wanted = bodies.read(call.request, API_VERSION, KIND)
    return await _write(call, lambda scale: wanted)


async def patch(call: Call) -> Response:
    """PATCH of a Scale."""
    apply = patching.parse(call.request, API_VERSION, KIND)
    return await _write(call, lambda scale: patching.conform(call.request, apply(scale), scale))


async def _write(call: Call, wanted: Any) -> Response:
    async def change(obj: Object) -> Object:
        scale = wanted(scale_of(obj))
        version = scale["metadata"].get("resourceVersion")
        if version and version != obj["metadata"]["resourceVersion"]:
            raise status.conflict(call.resource, call.target.name)
        replicas = (scale.get("spec") or {}).get("replicas", 0)
        if replicas < 0:
            message = f"Invalid value: {replicas}: must be greater than or equal to 0"
            cause = Cause("FieldValueInvalid", message, "spec.replicas")
            raise status.invalid("Scale.autoscaling", call.target.name, [cause])
        obj["spec"]["replicas"] = replicas
        await call.admit("update", obj, None)
        return obj

    written = await call.registry.update(
        call.namespace, call.target.name, change, subresource="scale", dry_run=call.dry_run
    )
    return _answer(written.obj)


def _answer(obj: Object) -> Response:
    return Response(200, json_codec.encode(scale_of(obj)))


def scale_of(obj: Object) -> Object:
    """The Scale of a workload."""
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    selector = spec.get("selector")
    if obj["kind"] == "ReplicationController":  # whose selector is a plain map
        selector = {"matchLabels": selector or {}}
    return {
        "kind": KIND,
        "apiVersion": API_VERSION,
        "metadata": {k: metadata[k] for k in COPIED if k in metadata},
        "spec": {"replicas": spec.get("replicas", 0)},
        "status": {
            "replicas": (obj.get("status") or {}).get("replicas", 0),
            "selector": str(selectors.from_object(selector)),
        },
    }
