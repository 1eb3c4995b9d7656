"""Pods as their users meet them: logs, commands, statuses, ephemeral containers, deletion."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from kubernetes.stream import stream
from suite.plane import eventually
from suite.rows import real, shows
from suite.runtimes import Node

Object = dict[str, Any]

FOREVER = "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done"


def main(script: str = FOREVER, **more: Any) -> Object:
    return {"name": "main", "command": ["sh", "-c", script], **more}


LIMITED = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}}
EQUAL = {"requests": LIMITED["limits"], "limits": LIMITED["limits"]}


def objects_of(node: Node) -> list[Object]:
    saying = {"annotations": {"raykube.dev/simulate": "{logs: {lines: [up]}}"}}
    collection = [node.pod(f"many-{n}", main(), metadata={"labels": {"of": "many"}})
                  for n in range(3)]  # fmt: skip
    shared = [{"name": "shared", "emptyDir": {}}]
    mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    writes = 'echo hello > "$RAYKUBE_MOUNTS/shared/file"; ' + FOREVER
    return [
        node.pod("steady", main(), metadata=saying),
        node.pod("other", main()),
        node.pod("best-effort", main()),
        node.pod("burstable", main(resources=LIMITED)),
        node.pod("guaranteed", main(resources=EQUAL)),
        node.pod(
            "pair", main(**mount), {**main(writes, **mount), "name": "writer"}, volumes=shared
        ),
        *collection,
    ]


def running(pods: Node, name: str) -> Object:
    return pods.until(name, lambda pod: pod["status"].get("phase") == "Running")


@shows("[sig-node] Kubelet when scheduling a busybox command in a pod should print the output to"
       " logs")  # fmt: skip
def test_what_a_container_prints_is_in_its_log(pods: Node) -> None:
    running(pods, "steady")
    eventually(lambda: pods.kubectl("logs", "steady") == "up\n")
    stamped = pods.kubectl("logs", "steady", "--timestamps", "--tail=1")
    assert stamped.endswith("Z up\n")


@real("[sig-node] Pods should support remote command execution over websockets")
def test_a_command_runs_in_a_pod_over_a_websocket(pods: Node) -> None:
    running(pods, "steady")
    said = stream(
        pods.plane.core.connect_get_namespaced_pod_exec,
        "steady",
        pods.namespace,
        command=["sh", "-c", "echo remote execution test"],
        stdout=True,
        stderr=True,
    )
    assert said == "remote execution test\n"


@real("[sig-node] kubectl exec passes input on and tells the exit code")
def test_input_and_exit_code_of_a_command(pods: Node) -> None:
    running(pods, "steady")
    assert pods.kubectl("exec", "-i", "steady", "--", "cat", stdin="given") == "given"
    failed = pods.kubectl("exec", "steady", "--", "sh", "-c", "exit 3", ok=False)
    assert "exit code 3" in failed


@shows("[sig-node] Pods should get a host IP")
def test_a_pod_knows_the_address_of_its_node(pods: Node) -> None:
    status = running(pods, "steady")["status"]
    addresses = pods.plane.get("node", pods.name)["status"]["addresses"]
    (host,) = [a["address"] for a in addresses if a["type"] == "InternalIP"]
    assert (status["hostIP"], status["hostIPs"]) == (host, [{"ip": host}])


@shows(
    "[sig-node] Pods Extended Pods Set QOS Class should be set on Pods with matching resource"
    " requests and limits for memory and cpu"
)
def test_the_class_of_service_follows_requests_and_limits(pods: Node) -> None:
    wanted = {"best-effort": "BestEffort", "burstable": "Burstable", "guaranteed": "Guaranteed"}
    for name, of in wanted.items():
        assert running(pods, name)["status"]["qosClass"] == of


@real("[sig-storage] EmptyDir volumes pod should support shared volumes between containers")
def test_containers_of_a_pod_share_a_volume(pods: Node) -> None:
    running(pods, "pair")
    read = 'cat "$RAYKUBE_MOUNTS/shared/file" 2>/dev/null || true'
    eventually(lambda: pods.shell("pair", read, "main") == "hello\n")


@real(
    "[sig-node] Ephemeral Containers will start an ephemeral container in an existing pod",
    "[sig-node] Ephemeral Containers should update the ephemeral containers in an existing pod",
)
def test_an_ephemeral_container_joins_a_running_pod(pods: Node) -> None:
    running(pods, "other")
    for number, script in enumerate(("echo polo", "echo marco")):
        new = {"name": f"debug-{number}", "image": pods.image, "command": ["sh", "-c", script]}
        patch = json.dumps({"spec": {"ephemeralContainers": [new]}})
        pods.kubectl("patch", "pod", "other", "--subresource=ephemeralcontainers", "-p", patch)
    eventually(lambda: pods.kubectl("logs", "other", "-c", "debug-0") == "polo\n")
    eventually(lambda: pods.kubectl("logs", "other", "-c", "debug-1") == "marco\n")
    pod = running(pods, "other")
    assert len(pod["spec"]["ephemeralContainers"]) == 2
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


@shows("[sig-node] Pods should be submitted and removed")
def test_a_pod_is_watched_from_its_creation_to_its_end(pods: Node) -> None:
    pods.apply(pods.pod("watched", main()))
    watch = ("get", "pods", "--watch", "--output-watch-events", "-l", "app=watched")
    command = pods.plane.command("-n", pods.namespace, *watch)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        try:
            lines = iter(watching.stdout.readline, "")
            assert any("ADDED" in line for line in lines)
            running(pods, "watched")
            pods.kubectl("delete", "pod", "watched", "--grace-period=5", "--timeout=90s")
            assert any("DELETED" in line for line in lines)
        finally:
            watching.terminate()
    assert pods.kubectl("get", "pods", "-l", "app=watched", "-o", "name") == ""


@shows("[sig-node] Pods should delete a collection of pods")
def test_pods_are_deleted_by_label(pods: Node) -> None:
    for n in range(3):
        running(pods, f"many-{n}")
    core = pods.plane.core
    core.delete_collection_namespaced_pod(pods.namespace, label_selector="of=many")
    eventually(lambda: not core.list_namespaced_pod(
        pods.namespace, label_selector="of=many").items)  # fmt: skip


@shows(
    "[sig-node] Pods Extended (pod generation) Pod Generation pod generation should start at 1 and"
    " increment per update"
)
def test_the_generation_of_a_pod_counts_changes_of_its_spec(pods: Node) -> None:
    before = running(pods, "burstable")["metadata"]["generation"]
    assert before == 1
    pods.kubectl("label", "pod", "burstable", "generation=same")
    assert pods.read("burstable")["metadata"]["generation"] == 1
    tolerations = [{"key": "new", "operator": "Exists"}]
    found = pods.read("burstable")["spec"]["tolerations"] + tolerations
    pods.kubectl("patch", "pod", "burstable", "-p", json.dumps({"spec": {"tolerations": found}}))
    pod = pods.until("burstable", lambda p: p["metadata"]["generation"] == 2)
    assert pod["status"]["phase"] == "Running"


@shows(
    "[sig-node] Pods Extended (pod generation) Pod Generation issue 500 podspec updates and verify"
    " generation and observedGeneration eventually converge"
)
def test_the_node_tells_which_generation_it_has_seen(pods: Node) -> None:
    running(pods, "guaranteed")
    found = pods.read("guaranteed")["spec"]["tolerations"]
    for number in range(50):
        found = [*found, {"key": f"key-{number}", "operator": "Exists"}]
        pods.plane.core.patch_namespaced_pod(
            "guaranteed", pods.namespace, {"spec": {"tolerations": found}}
        )
    pod = pods.until("guaranteed", lambda p: p["status"].get("observedGeneration") == 51)
    assert pod["metadata"]["generation"] == 51


@shows(
    "[sig-node] Pods Extended (pod generation) Pod Generation custom-set generation on new pods"
    " and graceful delete"
)
def test_a_generation_is_not_taken_from_users_and_counts_a_deletion(pods: Node) -> None:
    new = pods.pod("generated", main(), metadata={"generation": 100, "finalizers": ["t/hold"]})
    pods.apply(new)
    assert running(pods, "generated")["metadata"]["generation"] == 1
    pods.kubectl("delete", "pod", "generated", "--wait=false", "--grace-period=5")
    assert pods.read("generated")["metadata"]["generation"] == 2
    pods.kubectl("patch", "pod", "generated", "--type=json", "-p",
                 '[{"op": "remove", "path": "/metadata/finalizers"}]')  # fmt: skip
    pods.kubectl("wait", "--for=delete", "pod/generated", "--timeout=90s")


@shows(
    "[sig-node] Pods should patch a pod status",
    "[sig-node] Pods should run through the lifecycle of Pods and PodStatus",
)
def test_the_status_of_a_pod_is_patched_and_replaced(pods: Node) -> None:
    running(pods, "best-effort")
    mine = {"type": "example.com/own", "status": "True"}
    patch = json.dumps({"status": {"conditions": [mine]}})
    pods.kubectl("patch", "pod", "best-effort", "--subresource=status", "-p", patch)
    pod = pods.read("best-effort")
    types = {c["type"]: c["status"] for c in pod["status"]["conditions"]}
    assert (types["example.com/own"], types["PodScheduled"]) == ("True", "True")
    for entry in pod["status"]["conditions"]:
        if entry["type"] == mine["type"]:
            entry["status"] = "False"
    pods.kubectl("replace", "--subresource=status", "-f", "-", stdin=json.dumps(pod))
    types = {c["type"]: c["status"] for c in pods.read("best-effort")["status"]["conditions"]}
    assert types["example.com/own"] == "False"
