"""POST pods/NAME/binding: the scheduler's decision."""

from __future__ import annotations

from cluster.apiserver import bodies, encodings
from cluster.apiserver.bodies import Object
from cluster.apiserver.context import Call
from cluster.apiserver.handlers.writing import place
from cluster.apiserver.http.messages import Response
from cluster.machinery import meta, status
from cluster.machinery.status import Cause
from cluster.storage.binders import Writer

IDENTITY, SEEN = "scheduling.raykube.dev/scheduler", "scheduling.raykube.dev/seen"


async def bind(call: Call) -> Response:
    """Assign a pod to a node, once: 409 if it has one already or is being deleted."""
    binding = bodies.read(call.request, "v1", "Binding")
    place(call, binding)
    name = call.target.name or binding["metadata"].get("name", "")
    if binding["metadata"].setdefault("name", name) != name:
        raise status.bad_request("the name of the binding does not match the name on the URL")
    node, writer = _node(binding, name), _writer(binding)
    await call.admit("create", binding, None)
    await call.judge("create", binding, None)

    async def change(pod: Object) -> Object:
        _refuse_bound(call, pod)
        pod["spec"]["nodeName"] = node
        annotations = binding["metadata"].get("annotations")
        if annotations:
            pod["metadata"].setdefault("annotations", {}).update(annotations)
        condition = {"type": "PodScheduled", "status": "True"}
        meta.set_condition(pod, condition, call.context.seams.clock.wall())
        return pod

    await call.registry.bind(call.namespace, name, change, node, writer, call.dry_run)
    return encodings.reply(call.request, 201, status.success() | {"code": 201})


def _writer(binding: Object) -> Writer:
    """Who binds, as told in annotations that are not meant for the pod."""
    annotations = binding["metadata"].get("annotations") or {}
    identity, seen = annotations.pop(IDENTITY, ""), annotations.pop(SEEN, "")
    return Writer(identity, int(seen) if seen.isdecimal() else 0)


def _node(binding: Object, name: str) -> str:
    target = binding.get("target") or {}
    if target.get("kind", "") not in ("", "Node"):
        message = f'Unsupported value: "{target["kind"]}": supported values: "Node", ""'
        cause = Cause("FieldValueNotSupported", message, "target.kind")
        raise status.invalid("Binding", name, [cause])
    if not target.get("name"):
        cause = Cause("FieldValueRequired", "Required value", "target.name")
        raise status.invalid("Binding", name, [cause])
    return str(target["name"])


def _refuse_bound(call: Call, pod: Object) -> None:
    name = pod["metadata"]["name"]
    resource = "pods/binding"
    if pod["metadata"].get("deletionTimestamp"):
        text = f"pod {name} is being deleted, cannot be assigned to a host"
        raise status.conflict(resource, name, text)
    node = pod["spec"].get("nodeName")
    if node:
        text = f'pod {name} is already assigned to node "{node}"'
        raise status.conflict(resource, name, text)
