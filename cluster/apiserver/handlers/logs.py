"""GET pods/NAME/log: what the kubelet of the pod's node sends, passed on as it arrives."""

from __future__ import annotations

from cluster.apiserver.context import Call
from cluster.apiserver.handlers import log_options, log_sockets
from cluster.apiserver.handlers.containers import choose_container, kubelet_of
from cluster.apiserver.http.messages import Response
from cluster.apiserver.kubelet_client import Answer, KubeletError
from cluster.machinery import status
from cluster.machinery.codec import json_codec
from cluster.streaming import websocket

TEXT = "text/plain"
MAX_ERROR_BYTES = 4096


async def logs(call: Call) -> Response | None:
    """A plain-text stream; 400 if there is no one container to read from."""
    query = log_options.read(call.request)
    pod = json_codec.decode(await call.registry.get(call.namespace, call.target.name))
    container = choose_container(pod, call.request.parameter("container"))
    node = pod["spec"].get("nodeName")
    if not node:
        return Response(200, b"", TEXT)  # as upstream: nothing has run, so nothing was said
    host, port = await kubelet_of(call, node)
    path = f"/containerLogs/{call.namespace}/{call.target.name}/{container}"
    try:
        answer = await call.context.kubelets.get(host, port, path, query)
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
    if websocket.wanted(call.request.headers):
        await log_sockets.send(call.request, answer.chunks())
        return
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
