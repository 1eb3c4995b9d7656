"""pods/proxy, services/proxy and nodes/proxy: any request to what listens there."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cluster.apiserver.context import Call
from cluster.apiserver.endpoints import SLICES, ready, slices_of
from cluster.apiserver.handlers.containers import kubelet_of
from cluster.apiserver.http.messages import Response
from cluster.apiserver.proxying.answers import BackendError
from cluster.apiserver.proxying.forward import Backend, forward
from cluster.machinery import status
from cluster.machinery.codec import json_codec

Object = dict[str, Any]
KINDS = {"pods": "PodProxyOptions", "services": "ServiceProxyOptions", "nodes": "NodeProxyOptions"}
OWN_NETWORK = ipaddress.ip_network("127.0.0.0/16")
"""Where this machine's own services listen; pods have other parts of the loopback network."""


@dataclass(frozen=True)
class Named:
    """`[SCHEME:]NAME[:PORT]`; the port is a number or a name."""

    scheme: str
    name: str
    port: str


def parse_name(text: str) -> Named:
    """400 for what is no such name."""
    parts = text.split(":")
    if len(parts) == 1:
        return Named("", text, "")
    if len(parts) == 2:
        return Named("", parts[0], parts[1])
    if len(parts) == 3 and parts[0] in ("", "http", "https"):
        return Named(*parts)
    raise status.bad_request(f"invalid proxy name {text!r}: use [scheme:]name[:port]")


async def proxy(call: Call) -> Response | None:
    """The backend's answer, or what it upgrades to."""
    plural = call.resource.plural
    named = parse_name(call.target.name)
    prefix, below = _split(call)
    if not below and call.request.method in ("GET", "HEAD"):
        return _to_folder(call)
    await call.connect({"kind": KINDS[plural], "apiVersion": "v1", "path": below})
    find = {"pods": _pod, "services": _service, "nodes": _node}[plural]
    backend = await find(call, named, prefix)
    target = (below or "/") + (f"?{call.request.raw_query}" if call.request.raw_query else "")
    try:
        return await forward(call.context.seams, call.request, backend, target)
    except BackendError as error:
        text = f"error trying to reach service: {error}"
        raise status.service_unavailable(text) from error


def _split(call: Call) -> tuple[str, str]:
    """Our path up to `proxy`, and what is below it, both with their escapes."""
    parts = call.request.raw_path.split("/")
    end = 8 if call.resource.namespaced else 6
    below = "/".join(parts[end:])
    return "/".join(parts[:end]), f"/{below}" if len(parts) > end else ""


def _to_folder(call: Call) -> Response:
    """Without a slash at its end, relative links of the page would lead astray."""
    query = f"?{call.request.raw_query}" if call.request.raw_query else ""
    location = f"{call.request.raw_path}/{query}"
    return Response(301, b"", "text/plain; charset=utf-8", {"Location": location})


async def _pod(call: Call, named: Named, prefix: str) -> Backend:
    pod = json_codec.decode(await call.registry.get(call.namespace, named.name))
    port = named.port or next(_container_ports(pod), "") or _usual(named.scheme)
    if not port.isdigit():
        raise status.bad_request(f"pod port {port!r} must be a number")
    address = (pod.get("status") or {}).get("podIP") or ""
    return _backend(named.scheme, address, int(port), prefix)


def _container_ports(pod: Object) -> Iterator[str]:
    for container in pod["spec"].get("containers") or ():
        for port in container.get("ports") or ():
            if port.get("protocol", "TCP") == "TCP":
                yield str(port["containerPort"])


async def _service(call: Call, named: Named, prefix: str) -> Backend:
    service = json_codec.decode(await call.registry.get(call.namespace, named.name))
    port = _service_port(service, named.port)
    slices = call.context.find(SLICES).registry.cache
    entries = slices_of(slices, call.namespace, named.name)
    name = port.get("name") or ""
    found = [address for entry in entries for address in ready(entry.decode(), name)]
    if not found:
        text = f'no endpoints available for service "{call.target.name}"'
        raise status.service_unavailable(text)
    address, number = call.context.seams.randomness.choice(found)
    return _backend(named.scheme, address, number, prefix)


def _service_port(service: Object, asked: str) -> Object:
    ports = service["spec"].get("ports") or ()
    for port in ports:
        if asked in (port.get("name"), str(port["port"])) or (not asked and len(ports) == 1):
            found: Object = port
            return found
    name = service["metadata"]["name"]
    raise status.service_unavailable(f'no service port "{asked}" found for service "{name}"')


async def _node(call: Call, named: Named, prefix: str) -> Backend:
    """The kubelet, unless another port is asked for."""
    host, kubelet_port = await kubelet_of(call, named.name)
    if named.port in ("", str(kubelet_port)):
        return Backend(host, kubelet_port, call.context.kubelets.tls, prefix)
    if not named.port.isdigit():
        raise status.bad_request(f"node port {named.port!r} must be a number")
    return Backend(host, int(named.port), _unchecked(named.scheme), prefix)


def _backend(scheme: str, address: str, port: int, prefix: str) -> Backend:
    """400 for addresses that no pod can have: this must not be a way into the machine."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        raise status.bad_request("address not allowed") from None
    if parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified:
        raise status.bad_request("address not allowed")
    if parsed in OWN_NETWORK or parsed == ipaddress.ip_address("::1"):
        raise status.bad_request("address not allowed")
    return Backend(address, port, _unchecked(scheme), prefix)


def _usual(scheme: str) -> str:
    return "443" if scheme == "https" else "80"


def _unchecked(scheme: str) -> ssl.SSLContext | None:
    """As upstream: nobody can say which certificate a pod has."""
    if scheme != "https":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
