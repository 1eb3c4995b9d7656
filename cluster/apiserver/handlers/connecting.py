"""pods/exec, /attach and /portforward: the connection is passed on to the kubelet of the pod.

The kubelet speaks all protocols (WebSocket and SPDY), so nothing is translated here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from cluster.apiserver.context import Call
from cluster.apiserver.handlers.containers import choose_container, kubelet_of
from cluster.apiserver.http.messages import Response
from cluster.apiserver.proxying import messages
from cluster.apiserver.proxying.answers import BackendError
from cluster.apiserver.proxying.forward import Backend, forward
from cluster.machinery import status
from cluster.machinery.codec import json_codec

Object = dict[str, Any]
STREAMS = (("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty"))
"""As the API names them, and as kubelets do."""


async def execute(call: Call) -> Response | None:
    options = _options(call, "PodExecOptions")
    commands = call.request.query.get("command", [])
    if commands:
        options["command"] = commands
    return await _to_container(call, "exec", options)


async def attach(call: Call) -> Response | None:
    return await _to_container(call, "attach", _options(call, "PodAttachOptions"))


async def port_forward(call: Call) -> Response | None:
    options: Object = {"kind": "PodPortForwardOptions", "apiVersion": "v1"}
    texts = [text for given in call.request.query.get("ports", []) for text in given.split(",")]
    if not all(text.isascii() and text.isdigit() and len(text) < 6 for text in texts):
        raise status.bad_request(f"ports must be numbers: {', '.join(texts)}")
    if texts:
        options["ports"] = [int(text) for text in texts]
    pod = await _admitted(call, options)
    ports = [("port", str(port)) for port in options.get("ports") or ()]
    return await _to_kubelet(call, pod, "portForward", "", ports)


def _options(call: Call, kind: str) -> Object:
    """As upstream decodes them from the query. What is not asked for is left out."""
    options: Object = {"kind": kind, "apiVersion": "v1"}
    flags = [name for name, _ in STREAMS if call.request.flag(name)]
    options |= dict.fromkeys(flags, True)
    if call.request.parameter("container"):
        options["container"] = call.request.parameter("container")
    return options


async def _admitted(call: Call, options: Object) -> Object:
    """The pod. 404 if there is none, what admission says, 400 for what is no upgrade.

    Webhooks may change the options: what is done is read from them afterwards.
    """
    pod = json_codec.decode(await call.registry.get(call.namespace, call.target.name))
    await call.connect(options)
    if not messages.upgrade_of(call.request.headers):
        raise status.bad_request("Upgrade request required")
    return pod


async def _to_container(call: Call, kind: str, options: Object) -> Response | None:
    pod = await _admitted(call, options)
    container = choose_container(pod, options.get("container", ""))
    query = [("command", word) for word in options.get("command") or ()]
    query += [(theirs, "1") for ours, theirs in STREAMS if options.get(ours)]
    return await _to_kubelet(call, pod, kind, container, query)


async def _to_kubelet(
    call: Call, pod: Object, kind: str, container: str, query: Sequence[tuple[str, str]]
) -> Response | None:
    node = pod["spec"].get("nodeName")
    if not node:
        raise status.bad_request(f"pod {call.target.name} does not have a host assigned")
    host, port = await kubelet_of(call, node)
    parts = [kind, call.namespace, call.target.name, *filter(None, [container])]
    path = "/" + "/".join(quote(part, safe="") for part in parts)
    target = f"{path}?{urlencode(query)}" if query else path
    backend = Backend(host, port, call.context.kubelets.tls)
    try:
        return await forward(call.context.seams, call.request, backend, target)
    except BackendError as error:
        raise status.internal_error(f"error dialing backend: {error}") from error
