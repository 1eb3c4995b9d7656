"""How pods begin and end: init containers, restarts, hooks, probes, messages, deadlines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from suite import environment
from suite.plane import eventually
from suite.rows import real, shows
from suite.runtimes import Node

Object = dict[str, Any]

ANNOTATION = "raykube.dev/simulate"
IP = [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]


def sh(name: str, script: str, **more: Any) -> Object:
    return {"name": name, "command": ["sh", "-c", script], **more}


def as_data(text: str) -> Object:
    """What a simulated pod does in place of its processes."""
    return {"annotations": {ANNOTATION: text}}


FOREVER = sh("main", "trap 'exit 0' TERM; while :; do sleep 0.1; done")


def _inits(node: Node) -> list[Object]:
    two = [sh("first", "exit 0"), sh("second", "exit 0")]
    failing = [sh("first", "exit 1"), sh("second", "exit 0")]
    done = as_data("{exit: {after: 100ms, code: 0}}")
    fails = as_data("{exit: {after: 100ms, code: 1}}")
    return [
        node.pod("init-never", sh("main", "exit 0"), initContainers=two, restartPolicy="Never",
                 metadata=done),
        node.pod("init-always", FOREVER, initContainers=two),
        node.pod("init-fails-never", sh("main", "exit 0"), initContainers=failing,
                 restartPolicy="Never", metadata=fails),
        node.pod("init-fails-always", sh("main", "exit 0"), initContainers=failing,
                 metadata=fails),
        node.pod("sidecar", sh("main", "until [ -e /dev/null ]; do :; done"),
                 initContainers=[{**FOREVER, "name": "beside", "restartPolicy": "Always"}],
                 restartPolicy="Never", metadata=as_data("{exit: {after: 200ms, code: 0}}")),
    ]  # fmt: skip


def _ends(node: Node) -> list[Object]:
    """Of each restart policy one whose container ends well and one whose does not."""
    return [
        node.pod(
            f"exits-{code}-{policy.lower()}",
            sh("main", f"exit {code}"),
            restartPolicy=policy,
            metadata=as_data(f"{{exit: {{after: 100ms, code: {code}}}}}"),
        )
        for policy in ("Never", "OnFailure", "Always")
        for code in (0, 1)
    ]


MESSAGE = 'printf {} > "$RAYKUBE_MOUNTS{}"'


def _messages(node: Node) -> list[Object]:
    default, own = "/dev/termination-log", "/dev/termination-custom-log"
    fallback = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    return [
        node.pod(
            "messages",
            sh("custom", MESSAGE.format("DONE", own), terminationMessagePath=own,
               securityContext=node.non_root),
            sh("from-log", "printf DONE; exit 1", **fallback),
            sh("empty", "printf DONE; exit 0", **fallback),
            sh("from-file", MESSAGE.format("OK", default) + "; printf DONE", **fallback),
            restartPolicy="Never",
        )
    ]  # fmt: skip


def _hooks(node: Node) -> list[Object]:
    mark = ["sh", "-c", 'echo started > "$RAYKUBE_MOUNTS/shared/$POD"']
    last = ["sh", "-c", 'echo stopping > "$RAYKUBE_MOUNTS/shared/$POD"']
    shared = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    path = f"{node.shared_folder}/hooks"
    volumes = [{"name": "shared", "hostPath": {"path": path, "type": "DirectoryOrCreate"}}]
    env = [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    server = sh(
        "main",
        f'mkdir -p "$RAYKUBE_MOUNTS/www"; cd "$RAYKUBE_MOUNTS/www" && {node.http_server}',
        env=IP,
        volumeMounts=[{"name": "www", "mountPath": "/www"}],
    )
    own = {"volumes": [{"name": "www", "emptyDir": {}}]}
    return [
        node.pod("started", {**FOREVER, **shared, "env": env,
                             "lifecycle": {"postStart": {"exec": {"command": mark}}}},
                 volumes=volumes),
        node.pod("stopping", {**FOREVER, **shared, "env": env,
                              "lifecycle": {"preStop": {"exec": {"command": last}}}},
                 volumes=volumes),
        node.pod("reader", {**FOREVER, **shared}, volumes=volumes),
        node.pod("hook-server", server, **own),
    ]  # fmt: skip


def _probes(node: Node) -> list[Object]:
    quick = {"periodSeconds": 1, "failureThreshold": 1}
    health = 'f="$RAYKUBE_MOUNTS/h/health"; '
    volume = {"volumes": [{"name": "h", "emptyDir": {}}]}
    mount = {"volumeMounts": [{"name": "h", "mountPath": "/h"}]}
    cat = {"exec": {"command": ["sh", "-c", 'cat "$RAYKUBE_MOUNTS/h/health"']}}
    stay = health + "echo ok > $f; while :; do sleep 0.1; done"
    leave = health + "echo ok > $f; sleep 1; rm -f $f; while :; do sleep 0.1; done"
    web = health + f'echo ok > $f; cd "$RAYKUBE_MOUNTS/h"; {node.http_server}'
    breaks = health + f'(sleep 2; rm $f) & echo ok > $f; cd "$RAYKUBE_MOUNTS/h"; {node.http_server}'
    http = {"httpGet": {"path": "/health", "port": 8080}, "initialDelaySeconds": 2}
    tcp = {"tcpSocket": {"port": 8080}, "initialDelaySeconds": 2}
    never = {"exec": {"command": ["sh", "-c", "exit 1"]}}
    none = {"exec": {"command": ["true"]}, "initialDelaySeconds": 3, "periodSeconds": 1}
    lenient = {"periodSeconds": 1, "failureThreshold": 30}

    def live(name: str, script: str, probe: Object) -> Object:
        return node.pod(name, sh("main", script, env=IP, livenessProbe=probe, **mount), **volume)

    return [
        live("exec-stays", stay, {**cat, **lenient}),
        live("exec-fails", leave, {**cat, **quick, "initialDelaySeconds": 1}),
        live("http-stays", web, {**http, **lenient}),
        live("http-fails", breaks, {**http, "periodSeconds": 1, "failureThreshold": 3}),
        live("tcp-stays", web, {**tcp, **lenient}),
        node.pod("late", {**FOREVER, "readinessProbe": none}),
        node.pod("never-ready", {**FOREVER, "readinessProbe": {**never, "periodSeconds": 1}}),
        node.pod("gated", FOREVER, readinessGates=[{"conditionType": "example.com/gate"}]),
    ]  # fmt: skip


def _grpc(node: Node) -> list[Object]:
    """Health services, one of which goes bad after two seconds."""
    server = Path(environment.__file__).with_name("health_server.py")
    probe = {"grpc": {"port": 5000}, "initialDelaySeconds": 1, "periodSeconds": 1}
    found = []
    for name, seconds, threshold in (("grpc-stays", "inf", 60), ("grpc-fails", "2", 5)):
        script = f'exec {sys.executable} {server} "$POD_IP:5000" {seconds}'
        container = sh("main", script, env=IP)
        container["livenessProbe"] = {**probe, "failureThreshold": threshold}
        found.append(node.pod(name, container))
    return found


def objects_of(node: Node) -> list[Object]:
    made = [*_inits(node), *_ends(node), node.pod("deadline", FOREVER)]
    if node.runtime != "simulated":
        made += [*_messages(node), *_hooks(node), *_probes(node)]
    if node.runtime.startswith("process"):
        made += _grpc(node)
    return made


def state(pod: Object, name: str = "main", init: bool = False) -> Object:
    """Of a container, with `restarts` and `last`; empty before it is reported."""
    found = pod["status"].get("initContainerStatuses" if init else "containerStatuses") or ()
    for status in found:
        if status["name"] == name:
            return {
                **status["state"],
                "restarts": status["restartCount"],
                "last": status.get("lastState") or {},
                "ready": status["ready"],
            }
    return {"restarts": 0, "last": {}, "ready": False}


def condition(pod: Object, type_: str) -> str:
    found = {c["type"]: c["status"] for c in pod["status"].get("conditions") or ()}
    return found.get(type_, "")


def phase(wanted: str) -> Any:
    return lambda pod: pod["status"].get("phase") == wanted


@shows("[sig-node] InitContainer should invoke init containers on a RestartNever pod")
def test_init_containers_run_one_after_another_before_the_others(pods: Node) -> None:
    pod = pods.until("init-never", phase("Succeeded"))
    first, second = (state(pod, name, True)["terminated"] for name in ("first", "second"))
    assert (first["exitCode"], second["exitCode"]) == (0, 0)
    assert first["finishedAt"] <= second["startedAt"]
    assert second["finishedAt"] <= state(pod)["terminated"]["startedAt"]
    assert condition(pod, "Initialized") == "True"


@shows("[sig-node] InitContainer should invoke init containers on a RestartAlways pod")
def test_a_pod_that_goes_on_is_initialized_once(pods: Node) -> None:
    pod = pods.until("init-always", phase("Running"))
    assert condition(pod, "Initialized") == "True"
    assert [s["state"]["terminated"]["exitCode"] for s in pod["status"]["initContainerStatuses"]] \
        == [0, 0]  # fmt: skip


@shows(
    "[sig-node] InitContainer should not start app containers and fail the pod if init containers"
    " fail on a RestartNever pod",
    needs=["init"],
)
def test_a_failed_init_container_is_the_end_of_a_pod_that_is_not_restarted(pods: Node) -> None:
    pod = pods.until("init-fails-never", phase("Failed"))
    assert state(pod, "first", True)["terminated"]["exitCode"] == 1
    assert "waiting" in state(pod, "second", True)
    assert "waiting" in state(pod)
    assert condition(pod, "Initialized") == "False"


@shows(
    "[sig-node] InitContainer should not start app containers if init containers fail on a"
    " RestartAlways pod",
    needs=["init"],
)
def test_a_failed_init_container_is_tried_again(pods: Node) -> None:
    pod = pods.until("init-fails-always", lambda p: state(p, "first", True)["restarts"] >= 2)
    assert pod["status"]["phase"] == "Pending"
    assert "waiting" in state(pod)
    assert condition(pod, "Initialized") == "False"


@shows("[sig-node] Sidecar containers end after the pod's own containers, and do not count")
def test_a_sidecar_ends_with_the_pod(pods: Node) -> None:
    pod = pods.until("sidecar", lambda p: phase("Succeeded")(p) or phase("Failed")(p))
    assert state(pod)["terminated"]["exitCode"] == 0
    assert "terminated" in state(pod, "beside", True)


@shows(
    "[sig-node] Container Runtime blackbox test when starting a container that exits should run"
    " with the expected status"
)
def test_what_becomes_of_containers_that_end(pods: Node) -> None:
    wanted = {"exits-0-never": "Succeeded", "exits-1-never": "Failed",
              "exits-0-onfailure": "Succeeded"}  # fmt: skip
    for name, of in wanted.items():
        pod = pods.until(name, phase(of))
        assert state(pod)["restarts"] == 0
        assert state(pod)["terminated"]["exitCode"] == int(name[6])
        assert condition(pod, "Ready") == "False"
    for name in ("exits-1-onfailure", "exits-0-always", "exits-1-always"):
        pod = pods.until(name, lambda p: state(p)["restarts"] >= 2)
        assert pod["status"]["phase"] == "Running"
        assert state(pod)["last"]["terminated"]["exitCode"] == int(name[6])


@shows(
    "[sig-node] Kubelet when scheduling a busybox command that always fails in a pod should have"
    " an terminated reason"
)
def test_a_container_that_fails_says_so(pods: Node) -> None:
    pod = pods.until("exits-1-never", phase("Failed"))
    assert state(pod)["terminated"]["reason"] == "Error"


@shows(
    "[sig-node] Kubelet when scheduling a busybox command that always fails in a pod should be"
    " possible to delete"
)
def test_a_pod_that_always_fails_can_be_deleted(pods: Node) -> None:
    pods.until("exits-1-always", lambda p: state(p)["restarts"] >= 1)
    pods.kubectl("delete", "pod", "exits-1-always", "--timeout=60s")


@shows("[sig-node] Pods should allow activeDeadlineSeconds to be updated")
def test_a_deadline_may_be_set_while_the_pod_runs(pods: Node) -> None:
    pods.until("deadline", phase("Running"))
    pods.kubectl("patch", "pod", "deadline", "-p", '{"spec": {"activeDeadlineSeconds": 1}}')
    pod = pods.until("deadline", phase("Failed"))
    assert pod["status"]["reason"] == "DeadlineExceeded"


RUNTIME = "[sig-node] Container Runtime blackbox test on terminated container should report"


@pytest.mark.parametrize(
    ("container", "message"),
    [
        pytest.param("custom", "DONE", marks=real(
            f"{RUNTIME} termination message if TerminationMessagePath is set as non-root user and"
            " at a non-default path")),
        pytest.param("from-log", "DONE", marks=real(
            f"{RUNTIME} termination message from log output if TerminationMessagePolicy"
            " FallbackToLogsOnError is set")),
        pytest.param("empty", "", marks=real(
            f"{RUNTIME} termination message as empty when pod succeeds and"
            " TerminationMessagePolicy FallbackToLogsOnError is set")),
        pytest.param("from-file", "OK", marks=real(
            f"{RUNTIME} termination message from file when pod succeeds and"
            " TerminationMessagePolicy FallbackToLogsOnError is set")),
    ],
)  # fmt: skip
def test_the_last_word_of_a_container(pods: Node, container: str, message: str) -> None:
    pod = pods.until("messages", lambda p: "terminated" in state(p, container))
    assert state(pod, container)["terminated"].get("message", "") == message


HOOK = "[sig-node] Container Lifecycle Hook when create a pod with lifecycle hook should execute"


@real(f"{HOOK} poststart exec hook properly")
def test_a_hook_runs_after_the_start(pods: Node) -> None:
    pods.until("started", phase("Running"))
    pods.until("reader", phase("Running"))
    read = 'cat "$RAYKUBE_MOUNTS/shared/started"'
    assert pods.shell("reader", read) == "started\n"


@real(f"{HOOK} prestop exec hook properly")
def test_a_hook_runs_before_the_end(pods: Node) -> None:
    pods.until("stopping", phase("Running"))
    pods.until("reader", phase("Running"))
    pods.kubectl("delete", "pod", "stopping", "--grace-period=20", "--timeout=60s")
    assert pods.shell("reader", 'cat "$RAYKUBE_MOUNTS/shared/stopping"') == "stopping\n"


def _asks_server(pods: Node, name: str, when: str) -> None:
    """A pod whose hook asks the server for a page; the server's log tells of it."""
    server = pods.until("hook-server", phase("Running"))
    ip = server["status"]["podIP"]
    eventually(
        lambda: "ok" in pods.shell("hook-server", f"echo ok > $RAYKUBE_MOUNTS/www/{name}; echo ok")
    )
    get = {"httpGet": {"host": ip, "port": 8080, "path": f"/{name}"}}
    hooked = {**FOREVER, "lifecycle": {when: get}}
    pods.apply(pods.pod(name, hooked))
    pods.until(name, phase("Running"))
    if when == "preStop":
        pods.kubectl("delete", "pod", name, "--grace-period=20", "--timeout=60s")
    eventually(lambda: f"/{name}" in pods.logs("hook-server"))


@real(f"{HOOK} poststart http hook properly")
def test_a_page_is_asked_for_after_the_start(pods: Node) -> None:
    _asks_server(pods, "asks-first", "postStart")


@real(
    f"{HOOK} prestop http hook properly",
    "[sig-node] PreStop should call prestop when killing a pod",
)
def test_a_page_is_asked_for_before_the_end(pods: Node) -> None:
    _asks_server(pods, "asks-last", "preStop")


PROBE = "[sig-node] Probing container should"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("exec-fails", marks=real(
            f'{PROBE} be restarted with a exec "cat /tmp/health" liveness probe')),
        pytest.param("http-fails", marks=real(
            f"{PROBE} be restarted with a /healthz http liveness probe")),
        pytest.param("grpc-fails", marks=real(
            f"{PROBE} be restarted with a GRPC liveness probe", needs=["grpc"])),
    ],
)  # fmt: skip
def test_a_failing_probe_restarts_the_container(pods: Node, name: str) -> None:
    pods.until(name, lambda p: state(p)["restarts"] >= 1)
    events = pods.kubectl("get", "events", f"--field-selector=involvedObject.name={name}")
    assert "Unhealthy" in events


@real(f"{PROBE} have monotonically increasing restart count")
def test_restarts_are_counted_upwards(pods: Node) -> None:
    seen: list[int] = []

    def enough(pod: Object) -> bool:
        seen.append(state(pod)["restarts"])
        return seen[-1] >= 3

    pods.until("exec-fails", enough)
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("exec-stays", marks=real(
            f'{PROBE} *not* be restarted with a exec "cat /tmp/health" liveness probe')),
        pytest.param("http-stays", marks=real(
            f"{PROBE} *not* be restarted with a /healthz http liveness probe")),
        pytest.param("tcp-stays", marks=real(
            f"{PROBE} *not* be restarted with a tcp:8080 liveness probe")),
        pytest.param("grpc-stays", marks=real(
            f"{PROBE} *not* be restarted with a GRPC liveness probe", needs=["grpc"])),
    ],
)  # fmt: skip
def test_a_probe_that_succeeds_leaves_the_container_alone(pods: Node, name: str) -> None:
    """Compared with its neighbour, which was probed as often and is restarted by now."""
    pods.until("exec-fails", lambda p: state(p)["restarts"] >= 2)
    pod = pods.until(name, lambda p: "running" in state(p))
    assert state(pod)["restarts"] == 0


@real(
    "[sig-node] Probing container with readiness probe should not be ready before initial delay"
    " and never restart"
)
def test_readiness_waits_for_its_initial_delay(pods: Node) -> None:
    pod = pods.until("late", lambda p: state(p)["ready"])
    (ready,) = [c for c in pod["status"]["conditions"] if c["type"] == "Ready"]
    assert ready["lastTransitionTime"] > state(pod)["running"]["startedAt"]
    assert state(pod)["restarts"] == 0


@real(
    "[sig-node] Probing container with readiness probe that fails should never be ready and never"
    " restart"
)
def test_a_pod_whose_readiness_fails_is_left_running(pods: Node) -> None:
    pods.until("exec-fails", lambda p: state(p)["restarts"] >= 2)
    pod = pods.until("never-ready", phase("Running"))
    assert (state(pod)["ready"], state(pod)["restarts"]) == (False, 0)


@real("[sig-node] Pods should support pod readiness gates")
def test_a_readiness_gate_holds_a_pod_back(pods: Node) -> None:
    pod = pods.until("gated", lambda p: state(p)["ready"])
    assert condition(pod, "Ready") == "False"
    gate = '{"status": {"conditions": [{"type": "example.com/gate", "status": "True"}]}}'
    pods.kubectl("patch", "pod", "gated", "--subresource=status", "-p", gate)
    pods.until("gated", lambda p: condition(p, "Ready") == "True")
