"""What is said to container managers and what their answers mean, without one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from cluster.kubelet.runtimes.base import ContainerSpec, PodSandbox, Resources, RuntimeFailure
from cluster.kubelet.runtimes.choice import make
from cluster.kubelet.runtimes.cri import messages
from cluster.kubelet.runtimes.cri import protocol_pb2 as pb
from cluster.kubelet.runtimes.cri.streaming import Begun, RemoteCommand, Spdy, exit_code
from cluster.kubelet.runtimes.docker import log_copy
from cluster.kubelet.runtimes.docker import messages as docker
from cluster.kubelet.runtimes.docker.images import tagged
from cluster.kubelet.runtimes.images import Credentials, Image
from cluster.streaming.spdy.session import Opened, Session

POD = PodSandbox("uid-1", name="web", hostname="web", log_folder="/logs")


def spec(**changes: Any) -> ContainerSpec:
    values: dict[str, Any] = {"sandbox": POD, "image": "busybox", "hostname": "web"}
    return ContainerSpec(
        "uid-1", "main", 2, "id", ["sh"], {}, "/logs/main/2.log", **values | changes
    )


def test_processor_and_memory_become_what_the_kernel_counts_in() -> None:
    asked = Resources(
        cpu_request_milli=250, cpu_limit_milli=500, memory_limit_bytes=64, oom_score_adj=900
    )
    made = messages.linux_resources(asked)
    assert (made.cpu_shares, made.cpu_quota, made.cpu_period) == (256, 50_000, 100_000)
    assert (made.memory_limit_in_bytes, made.oom_score_adj) == (64, 900)
    nothing = messages.linux_resources(Resources())
    assert (nothing.cpu_shares, nothing.cpu_quota, nothing.memory_limit_in_bytes) == (2, 0, 0)


def test_namespaces_are_those_that_the_pod_wants() -> None:
    own = messages.namespaces(POD, on_host=False)
    assert (own.network, own.pid, own.ipc) == (pb.POD, pb.CONTAINER, pb.POD)
    host = PodSandbox("u", host_network=True, host_pid=True, host_ipc=True)
    shared = messages.namespaces(host, on_host=False)
    assert (shared.network, shared.pid, shared.ipc) == (pb.NODE, pb.NODE, pb.NODE)
    assert messages.namespaces(POD, on_host=True).network == pb.NODE
    target = messages.namespaces(POD, on_host=True, target_id="other")
    assert (target.pid, target.target_id) == (pb.TARGET, "other")


def test_a_host_name_goes_only_with_a_network_of_its_own() -> None:
    assert messages.sandbox_config(POD, "/node", 0, on_host=False).hostname == "web"
    assert messages.sandbox_config(POD, "/node", 0, on_host=True).hostname == ""


def test_the_user_of_the_image_stands_where_only_a_group_is_asked_for() -> None:
    def security(image: Image, **changes: Any) -> Any:
        config = messages.container_config(spec(**changes), image, "/node", on_host=True)
        return config.linux.security_context

    made = security(Image("i", uid=7), gid=5)
    assert (made.run_as_user.value, made.run_as_group.value) == (7, 5)
    assert security(Image("i", username="guest"), gid=5).run_as_username == "guest"
    assert security(Image("i", uid=7), uid=0).run_as_user.value == 0
    assert not security(Image("i")).HasField("run_as_user")


def test_labels_of_a_pod_cannot_pretend_to_be_another_nodes() -> None:
    sly = PodSandbox("uid-1", labels={messages.NODE_FOLDER: "/other", "app": "web"})
    labels = messages.sandbox_config(sly, "/node", 0, on_host=True).labels
    assert labels[messages.NODE_FOLDER] == "/node"
    assert labels["app"] == "web"


def test_states_of_containers_are_told_as_the_kubelet_knows_them() -> None:
    def found(**values: Any) -> Any:
        status = pb.ContainerStatus(id="c", created_at=10**9, started_at=2 * 10**9, **values)
        return messages.container(status, "uid-1")

    running = found(state=pb.CONTAINER_RUNNING)
    assert (running.running, running.started_at_s, running.reason) == (True, 2.0, "")
    killed = found(state=pb.CONTAINER_EXITED, exit_code=137, finished_at=3 * 10**9)
    assert (killed.exit_code, killed.signal, killed.reason) == (137, 9, "Error")
    done = found(state=pb.CONTAINER_EXITED, finished_at=3 * 10**9)
    assert (done.exit_code, done.reason, done.finished_at_s) == (0, "Completed", 3.0)
    unknown = found(state=pb.CONTAINER_UNKNOWN)
    assert (unknown.exit_code, unknown.reason) == (137, "ContainerStatusUnknown")


def test_the_status_at_the_end_of_a_command_is_its_exit_code() -> None:
    cause = {"reason": "ExitCode", "message": "42"}
    failed = {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": [cause]}}
    assert exit_code(b'{"status": "Success"}') == 0
    assert exit_code(json.dumps(failed).encode()) == 42
    with pytest.raises(RuntimeFailure, match=r"^no such program$"):
        exit_code(b'{"status": "Failure", "message": "Internal error occurred: no such program"}')
    with pytest.raises(RuntimeFailure, match="did not tell"):
        exit_code(b"")


class Leaving:
    """A link to a streaming server that says all it has to say, and is gone when it is answered."""

    def __init__(self) -> None:
        self._server = Session()
        self._said: asyncio.Queue[bytes] = asyncio.Queue()
        self._streams: dict[str, int] = {}
        self._gone = False

    async def read(self) -> bytes:
        return await self._said.get()

    async def write(self, data: bytes, *, urgent: bool = False) -> None:
        if self._gone:
            raise ConnectionResetError("the server has gone")
        for event in self._server.receive(data):
            assert isinstance(event, Opened)
            self._streams[event.headers["streamtype"]] = event.stream_id
        if len(self._streams) == 2:
            self._speak()

    def _speak(self) -> None:
        self._gone = True
        for _ in range(20):
            self._server.send(self._streams["stdout"], bytes(50_000))
            self._said.put_nowait(self._server.output())
        self._server.send(self._streams["error"], b'{"status": "Success"}')
        self._said.put_nowait(self._server.output())
        self._said.put_nowait(b"")

    def abort(self) -> None:
        """Nothing is held."""


def test_what_a_command_said_last_is_read_after_the_server_has_gone() -> None:
    async def read_all() -> tuple[int, int]:
        link: Any = Leaving()
        connection = Spdy(link, Begun(link, b""))
        names = ("error", "stdout")
        streams = {name: await connection.open({"streamtype": name}) for name in names}
        command, size = RemoteCommand(connection, streams), 0
        assert command.stdout is not None
        while data := await command.stdout.read():
            size += len(data)
        code = await command.wait()
        await command.close()
        return size, code

    assert asyncio.run(asyncio.wait_for(read_all(), 60)) == (1_000_000, 0)


def test_credentials_are_not_shown() -> None:
    assert "secret" not in repr(Credentials(username="u", password="secret"))


def test_an_image_without_a_tag_is_the_latest() -> None:
    assert tagged("busybox") == "busybox:latest"
    assert tagged("registry:5000/a/b") == "registry:5000/a/b:latest"
    assert tagged("a/b:1") == "a/b:1"
    assert tagged("a@sha256:0") == "a@sha256:0"


def test_dockers_containers_join_what_holds_the_pods_namespaces() -> None:
    host = docker.container_config(spec(), "/node", "holder")["HostConfig"]
    assert (host["IpcMode"], host["PidMode"], host["NetworkMode"]) == (
        "container:holder",
        "",
        "host",
    )
    sharing = PodSandbox("uid-1", share_processes=True)
    host = docker.container_config(spec(sandbox=sharing), "/node", "holder")["HostConfig"]
    assert host["PidMode"] == "container:holder"


def test_dockers_output_is_cut_into_lines_wherever_it_is_split() -> None:
    frames = b"".join(
        bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text
        for stream, text in ((1, b"T1 one\n"), (2, b"T2 two"), (1, b"T3 \n"))
    )

    class Split:
        async def pieces(self) -> Any:
            for at in range(0, len(frames), 3):
                yield frames[at : at + 3]

    async def lines(tty: bool) -> list[tuple[bytes, bytes]]:
        return [each async for each in log_copy._lines(Split(), tty=tty)]  # type: ignore[arg-type]

    expected = [(b"stdout", b"T1 one\n"), (b"stderr", b"T2 two"), (b"stdout", b"T3 \n")]
    assert asyncio.run(lines(tty=False)) == expected


def test_the_copy_of_a_log_goes_on_after_its_last_line(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    assert log_copy._last_stamp(str(path)) == ""
    path.write_text("2026-01-01T00:00:00.1Z stdout F a\n2026-01-01T00:00:01.5Z stdout F b\n")
    assert log_copy._last_stamp(str(path)) == "2026-01-01T00:00:01.5Z"
    path.rename(tmp_path / "0.log.1")
    assert log_copy._last_stamp(str(path)) == "2026-01-01T00:00:01.5Z"
    assert docker.time_of("1970-01-01T00:00:01.500000000Z") == 1.5


def test_a_runtime_that_cannot_be_is_refused(tmp_path: Path) -> None:
    def made(**config: str) -> Any:
        return make(config, str(tmp_path), None, None)  # type: ignore[arg-type]

    with pytest.raises(ValueError, match="unknown runtime 'rkt'"):
        made(runtime="rkt")
    with pytest.raises(ValueError, match="needs runtime_endpoint"):
        made(runtime="cri")
    with pytest.raises(ValueError, match="unknown pod network 'cni'"):
        made(runtime="docker", runtime_endpoint="unix:///x", pod_network="cni")
