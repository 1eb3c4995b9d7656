"""GET pods/NAME/log: what the kubelet of the pod's node sends, passed on as it arrives."""

from __future__ import annotations

from typing import Any

from cluster.apiserver.context import Call
from cluster.apiserver.http.messages import Response
from cluster.apiserver.kubelet_client import Answer, KubeletError
from cluster.machinery import meta, status
from cluster.machinery.codec import json_codec

PASSED_ON = ("follow", "tailLines", "sinceSeconds", "timestamps", "previous", "limitBytes")
TEXT = "text/plain"
MAX_ERROR_BYTES = 4096
KUBELET_PORT = 10250


async def logs(call: Call) -> Response | None:
    """A plain-text stream; 400 if there is no one container to read from."""
    pod = json_codec.decode(await call.registry.get(call.namespace, call.target.name))
    container = choose_container(pod, call.request.parameter("container"))
    node = pod["spec"].get("nodeName")
    if not node:
        return Response(200, b"", TEXT)  # as upstream: nothing has run, so nothing was said
    host, port = await _kubelet(call, node)
    path = f"/containerLogs/{call.namespace}/{call.target.name}/{container}"
    try:
        answer = await call.context.kubelets.get(host, port, path, _query(call))
    except KubeletError as error:
        raise status.internal_error(f"Get https://{host}:{port}{path}: {error}") from error
    try:
        await _pass_on(call, answer)
    finally:
        answer.close()
    return None


async def _pass_on(call: Call, answer: Answer) -> None:
    if answer.status != 200:
        raise await _refusal(answer)
    stream = call.request.open_stream(200, {"Content-Type": TEXT})
    stream.closed.add_done_callback(lambda _: answer.close())
    try:
        async for piece in answer.chunks():
            stream.write(piece)
            await stream.drain()
    except (KubeletError, ConnectionError):
        stream.abort()  # a clean end of the chunks would say that this was all


async def _refusal(answer: Answer) -> status.ApiError:
    text = b""
    try:
        async for piece in answer.chunks():
            text += piece
            if len(text) > MAX_ERROR_BYTES:
                break
    except KubeletError:
        pass  # what has come so far has to do
    message = text[:MAX_ERROR_BYTES].decode("utf-8", "replace").strip()
    if answer.status == 404:
        return status.failure(404, "NotFound", message or "not found", {})
    if answer.status == 400:
        return status.bad_request(message)
    return status.internal_error(message or f"the kubelet answered {answer.status}")


def _query(call: Call) -> dict[str, str]:
    query = {n: call.request.parameter(n) for n in PASSED_ON if call.request.parameter(n)}
    since = call.request.parameter("sinceTime")
    if since and "sinceSeconds" not in query:
        try:
            age_s = call.context.seams.clock.wall() - meta.parse_time(since)
        except ValueError as error:
            raise status.bad_request(f"sinceTime: {error}") from error
        query["sinceSeconds"] = str(max(1, int(age_s)))
    return query


def choose_container(pod: dict[str, Any], asked: str) -> str:
    """The container to read; 400 in upstream's words if it is unclear or unknown."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    main = [c["name"] for c in spec.get("containers") or ()]
    initial = [c["name"] for c in spec.get("initContainers") or ()]
    if asked:
        if asked not in main + initial:
            raise status.bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    if len(main) == 1:
        return str(main[0])
    shown = f"choose one of: [{' '.join(main)}]"
    if initial:
        shown += f" or one of the init containers: [{' '.join(initial)}]"
    text = f"a container name must be specified for pod {name}, {shown}"
    raise status.bad_request(text)


async def _kubelet(call: Call, node: str) -> tuple[str, int]:
    """(host, port) where the node's kubelet listens."""
    nodes = call.context.find("v1/nodes").registry
    state = json_codec.decode(await nodes.get("", node)).get("status") or {}
    addresses = {a["type"]: a["address"] for a in reversed(state.get("addresses") or [])}
    host = addresses.get("InternalIP") or addresses.get("Hostname")
    if not host:
        raise status.internal_error(f"no address of node {node} is known")
    endpoint = (state.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}
    return str(host), int(endpoint.get("Port") or KUBELET_PORT)
