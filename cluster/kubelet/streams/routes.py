"""The kubelet's paths that stream: /exec, /attach, /portForward and /run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from actors.seams import Seams
from cluster.kubelet.http_server import Request, Response, Upgrade, once
from cluster.kubelet.runtimes.base import Container
from cluster.kubelet.runtimes.interactive import Interactive, Running, Wanted
from cluster.kubelet.streams import port_forward, remote_command, spdy_client, websocket_client
from cluster.kubelet.streams import websocket_forward as legacy
from cluster.kubelet.streams.port_forward import Refused, SpdyPortForward
from cluster.kubelet.streams.spdy_client import SpdyCommandClient
from cluster.kubelet.streams.websocket_client import WebSocketCommandClient
from cluster.streaming import websocket
from cluster.streaming.link import Link, end_when_idle
from cluster.streaming.spdy.errors import SpdyError
from cluster.streaming.websocket import HandshakeRefused, WebSocket, WebSocketChannel

IDLE_S = 4 * 3600.0
"""streamingConnectionIdleTimeout of upstream's kubelet."""
CONNECTIONS_MAX = 1000
AFTER_CLIENT_S = 1.0
DIAL_TIMEOUT_S = 10.0
RUN_TIMEOUT_S = 600.0
RUN_OUTPUT_BYTES_MAX = 16 << 20
SPDY = "spdy/3.1"
PREFIXES = ("/exec/", "/attach/", "/portForward/", "/run/")
Start = Callable[[], Awaitable[Running]]


class Pods(Protocol):
    """What has to be known of the pods."""

    def pod_objects(self) -> list[dict[str, Any]]: ...

    def container_attempts(
        self, namespace: str, pod: str, name: str
    ) -> Sequence[Container] | None: ...

    def pod_address(self, namespace: str, pod: str) -> str: ...


class NotHere(Exception):
    """No such pod or container, or it does not run; `code` is of the answer."""

    def __init__(self, message: str, code: int = 404) -> None:
        super().__init__(message)
        self.code = code


class Streams:
    """`idle_s`: a connection on which nothing passes for so long is ended."""

    def __init__(
        self, seams: Seams, pods: Pods, runtime: Interactive | None, idle_s: float = IDLE_S
    ) -> None:
        self._seams, self._pods, self._runtime, self._idle_s = seams, pods, runtime, idle_s
        self._open = 0

    async def handle(self, request: Request) -> Response | Upgrade:
        """For a path with one of PREFIXES: `/KIND/NAMESPACE/POD[/UID][/CONTAINER]`."""
        kind, namespace, pod, *rest = (*request.path.strip("/").split("/"), "", "")
        rest = [part for part in rest if part]
        try:
            if self._runtime is None:
                raise NotHere("the runtime of this node has no exec, attach or port-forward", 400)
            if kind == "portForward":
                return self._port_forward(request, namespace, pod)
            if not rest:
                raise NotHere("404 page not found")
            container = self._running(namespace, pod, rest[-1])
            return await self._command(request, kind, container, self._runtime)
        except NotHere as error:
            return Response(error.code, once(f"{error}\n".encode()))
        except HandshakeRefused as error:
            return Response(400, once(f"{error}\n".encode()))

    def _running(self, namespace: str, pod: str, name: str) -> Container:
        attempts = self._pods.container_attempts(namespace, pod, name)
        if not attempts or not attempts[-1].running:
            raise NotHere(f'container not found ("{name}")')
        return attempts[-1]

    async def _command(
        self, request: Request, kind: str, container: Container, runtime: Interactive
    ) -> Response | Upgrade:
        container_id = container.container_id
        if kind == "run":
            command = request.values.get("cmd", [])
            command = command[0].split(" ") if len(command) == 1 else command
            return await self._run(runtime, container_id, command)
        wanted = wanted_streams(request.values)
        if kind == "attach":
            what = "attaching to container"
            return self._remote(request, wanted, lambda: runtime.attach(container_id, wanted), what)
        command = request.values.get("command", [])
        if not command:
            raise NotHere("you must specify at least 1 command", 400)
        what = "executing command in container: failed to exec in container"

        def start() -> Awaitable[Running]:
            return runtime.open(container_id, command, wanted)

        return self._remote(request, wanted, start, what)

    def _remote(self, request: Request, wanted: Wanted, start: Start, what: str) -> Upgrade:
        if not (wanted.stdin or wanted.stdout or wanted.stderr):
            raise NotHere("you must specify at least 1 of stdin, stdout, stderr", 400)
        clock = self._seams.clock
        if websocket.wanted(request.headers):
            protocol = websocket.negotiate(request.headers, websocket_client.PROTOCOLS)
            headers = websocket.accept_headers(request.headers, protocol)

            async def over_websocket(link: Link) -> None:
                client = WebSocketCommandClient(link, protocol or "channel.k8s.io")
                try:
                    await remote_command.serve(client, start, clock, what)
                finally:
                    await client.close()

            return self._upgrade(headers, over_websocket)
        protocol = spdy_protocol(request.headers, spdy_client.PROTOCOLS)

        async def over_spdy(link: Link) -> None:
            client = SpdyCommandClient(link, protocol, wanted)
            try:
                await remote_command.serve(client, start, clock, what)
            finally:
                await client.close()

        return self._upgrade(spdy_headers(protocol), over_spdy)

    def _port_forward(self, request: Request, namespace: str, pod: str) -> Upgrade:
        address = self._pods.pod_address(namespace, pod)
        if not address:
            raise NotHere(f'pod not found ("{pod}_{namespace}")')
        clock = self._seams.clock

        async def dial(port: int) -> Link:
            return await self._dial(address, port, f"{namespace}/{pod}")

        if not websocket.wanted(request.headers):
            protocol = spdy_protocol(request.headers, (port_forward.SPDY_PROTOCOL,))
            return self._upgrade(
                spdy_headers(protocol), lambda link: _forward(SpdyPortForward(link, dial, clock))
            )
        supported = (port_forward.TUNNEL_PROTOCOL, *legacy.PROTOCOLS)
        protocol = websocket.negotiate(request.headers, supported)
        headers = websocket.accept_headers(request.headers, protocol)
        if protocol == port_forward.TUNNEL_PROTOCOL:
            return self._upgrade(
                headers,
                lambda link: _forward(
                    SpdyPortForward(WebSocketChannel(WebSocket(link), link), dial, clock)
                ),
            )
        ports = port_numbers(request.values)
        return self._upgrade(
            headers,
            lambda link: legacy.WebSocketPortForward(link, protocol, ports, dial, clock).run(),
        )

    async def _dial(self, address: str, port: int, pod: str) -> Link:
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                _, link = await self._seams.network.connect(address, port, Link)
        except TimeoutError:
            why = "i/o timeout"
        except OSError as error:
            why = os.strerror(error.errno).lower() if error.errno else str(error)
        else:
            assert isinstance(link, Link)
            return link
        text = f"failed to connect to {address}:{port}: {why}"
        raise Refused(f"error forwarding port {port} to pod {pod}: {text}")

    def _upgrade(
        self, headers: Mapping[str, str], run: Callable[[Link], Awaitable[None]]
    ) -> Upgrade:
        if self._open >= CONNECTIONS_MAX:
            raise NotHere(f"there are {CONNECTIONS_MAX} streams on this node already", 503)

        async def watched(link: Link) -> None:
            self._open += 1
            work = asyncio.ensure_future(run(link))
            idle = asyncio.ensure_future(end_when_idle(link, self._seams.clock, self._idle_s))
            gone = asyncio.ensure_future(_gone(link))
            try:
                await asyncio.wait([work, idle, gone], return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    await asyncio.wait([work], timeout=AFTER_CLIENT_S)
                if work.done():
                    await work
            finally:
                self._open -= 1
                for task in (work, idle, gone):
                    task.cancel()
                await asyncio.gather(work, idle, gone, return_exceptions=True)

        return Upgrade(headers, watched)

    async def _run(
        self, runtime: Interactive, container_id: str, command: Sequence[str]
    ) -> Response:
        """Output and error of a command, at its end."""
        if not command or command == [""]:
            raise NotHere("you must specify a command in `cmd`", 400)
        result = await runtime.exec(
            container_id,
            command,
            timeout_s=RUN_TIMEOUT_S,
            output_size_bytes_max=RUN_OUTPUT_BYTES_MAX,
        )
        if result.exit_code == 0:
            return Response(200, once(result.output))
        text = f"command '{' '.join(command)}' exited with {result.exit_code}: "
        return Response(500, once(text.encode() + result.output))


async def _gone(link: Link) -> None:
    """What waits for somebody to read its input would not notice by itself."""
    await link.closed.wait()


async def _forward(forward: SpdyPortForward) -> None:
    try:
        await forward.run()
    except SpdyError as error:
        raise ConnectionResetError(str(error)) from error


def wanted_streams(values: Mapping[str, list[str]]) -> Wanted:
    """From `input`, `output`, `error` and `tty`; a terminal has no standard error of its own."""

    def flag(name: str) -> bool:
        return values.get(name, ["0"])[-1].lower() in ("1", "t", "true")

    tty = flag("tty")
    return Wanted(flag("input"), flag("output"), flag("error") and not tty, tty)


def spdy_protocol(headers: Mapping[str, str], supported: Sequence[str]) -> str:
    """The client's first version that is supported. Raises HandshakeRefused."""
    if headers.get("upgrade", "").strip().lower() != SPDY:
        raise HandshakeRefused("unable to upgrade: missing upgrade headers in request")
    listed = headers.get("x-stream-protocol-version", "").split(",")
    offered = [name.strip() for name in listed if name.strip()] or [supported[-1]]
    found = next((name for name in offered if name in supported), "")
    if not found:
        raise HandshakeRefused(f"unable to upgrade: unable to negotiate protocol: {offered}")
    return found


def spdy_headers(protocol: str) -> dict[str, str]:
    return {"Upgrade": "SPDY/3.1", "Connection": "Upgrade", "X-Stream-Protocol-Version": protocol}


def port_numbers(values: Mapping[str, list[str]]) -> list[int]:
    """From `port`, which may be given several times or hold a list. Raises HandshakeRefused."""
    texts = [text for given in values.get("port", []) for text in given.split(",")]
    if not texts or len(texts) > legacy.PORTS_MAX:
        raise HandshakeRefused(f'query parameter "port" is required, at most {legacy.PORTS_MAX}')
    for text in texts:
        if not text.isdigit() or not 0 < int(text) < 65536:
            raise HandshakeRefused(f"invalid port {text!r}")
    return [int(text) for text in texts]
