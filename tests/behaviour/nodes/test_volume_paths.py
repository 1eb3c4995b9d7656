"""Paths inside volumes, the files that the kubelet keeps, and names that two namespaces share."""

from __future__ import annotations

from typing import Any

from suite.plane import eventually
from suite.printed import configmap, ended, secret
from suite.rows import real
from suite.runtimes import Node

Object = dict[str, Any]

FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
RACING_PODS, RACING_VOLUMES = 3, 20
FIELD = {"fieldRef": {"fieldPath": "metadata.annotations['path']"}}


def _expanded(node: Node, name: str, path: str, script: str = FOREVER) -> Object:
    """A volume at a path that an annotation says."""
    container = {
        "name": "main",
        "command": ["sh", "-c", script],
        "env": [{"name": "SUB", "valueFrom": FIELD}],
        "volumeMounts": [
            {"name": "v", "mountPath": "/sub", "subPathExpr": "$(SUB)"},
            {"name": "v", "mountPath": "/all"},
        ],
    }
    metadata = {"annotations": {"path": path}}
    return node.pod(name, container, volumes=[{"name": "v", "emptyDir": {}}], metadata=metadata)


def _etc_hosts(node: Node) -> list[Object]:
    """Containers that have the kubelet's /etc/hosts, and one that brings its own."""
    read = 'cat "$RAYKUBE_MOUNTS/etc/hosts"; '
    volumes = [{"name": "own", "configMap": {"name": "hosts"}}]
    mount = {"name": "own", "mountPath": "/etc/hosts", "subPath": "hosts"}
    managed = {"name": "managed", "command": ["sh", "-c", read]}
    own = {"name": "own", "command": ["sh", "-c", read], "volumeMounts": [mount]}
    return [
        configmap("hosts", {"hosts": "127.0.0.1 of-the-pod\n"}),
        node.pod("hosts", managed, own, volumes=volumes, restartPolicy="Never"),
        node.pod("host-network", managed, hostNetwork=True, restartPolicy="Never"),
    ]


def _racing(node: Node) -> list[Object]:
    """Pods with many small volumes, all at once."""
    names = [f"race-{n}" for n in range(RACING_VOLUMES)]
    volumes = [{"name": name, "configMap": {"name": name}} for name in names]
    mounts = [{"name": name, "mountPath": f"/etc/{name}"} for name in names]
    script = 'cat "$RAYKUBE_MOUNTS"/etc/race-*/data | wc -c | tr -d " "'
    main = {"name": "main", "command": ["sh", "-c", script], "volumeMounts": mounts}
    return [
        *(configmap(name, {"data": "x"}) for name in names),
        *(
            node.pod(f"racing-{n}", main, volumes=volumes, restartPolicy="Never")
            for n in range(RACING_PODS)
        ),
    ]


def objects_of(node: Node) -> list[Object]:
    if node.runtime == "simulated":
        return []
    shown = {
        "name": "main",
        "command": ["sh", "-c", 'cat "$RAYKUBE_MOUNTS/v/data"'],
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    }
    volumes = [{"name": "v", "secret": {"secretName": "shared-name"}}]
    return [
        _expanded(node, "absolute", "/tmp"),
        _expanded(node, "backticks", "`date`"),
        _expanded(node, "writes", "inside"),
        _expanded(node, "mended", "/tmp"),
        *_etc_hosts(node),
        *_racing(node),
        secret("shared-name", {"data": "mine"}),
        node.pod("shared-name", shown, volumes=volumes, restartPolicy="Never"),
    ]


def _waiting(reason: str) -> Any:
    def check(pod: Object) -> bool:
        found = pod["status"].get("containerStatuses") or ()
        return any(c["state"].get("waiting", {}).get("reason") == reason for c in found)

    return check


EXPANSION = "[sig-node] Variable Expansion should"


@real(f"{EXPANSION} fail substituting values in a volume subpath with absolute path")
def test_a_sub_path_may_not_be_absolute(pods: Node) -> None:
    pod = pods.until("absolute", _waiting("CreateContainerConfigError"))
    assert pod["status"]["phase"] == "Pending"


@real(f"{EXPANSION} verify that a failing subpath expansion can be modified during the lifecycle"
      " of a container")  # fmt: skip
def test_a_sub_path_that_failed_is_taken_anew(pods: Node) -> None:
    pods.until("mended", _waiting("CreateContainerConfigError"))
    pods.kubectl("annotate", "pod", "mended", "path=mended", "--overwrite")
    pods.until("mended", lambda pod: pod["status"].get("phase") == "Running")


@real(f"{EXPANSION} succeed in writing subpaths in container")
def test_what_is_written_below_a_sub_path_is_in_the_volume(pods: Node) -> None:
    pods.until("writes", lambda pod: pod["status"].get("phase") == "Running")
    pods.shell("writes", 'echo there > "$RAYKUBE_MOUNTS/sub/file"')
    read = 'cat "$RAYKUBE_MOUNTS/all/inside/file"'
    eventually(lambda: pods.shell("writes", read) == "there\n")


@real("[sig-node] KubeletManagedEtcHosts should test kubelet managed /etc/hosts file")
def test_the_hosts_file_is_kept_unless_the_pod_brings_its_own(pods: Node) -> None:
    for name in ("managed", "own"):
        pods.until("hosts", ended(name))
    assert pods.logs("hosts", "managed").startswith("# Kubernetes-managed hosts file")
    assert pods.logs("hosts", "own") == "127.0.0.1 of-the-pod\n"
    pods.until("host-network", ended("managed"))
    assert "# Kubernetes-managed hosts file." not in pods.logs("host-network", "managed")


@real("[sig-storage] EmptyDir wrapper volumes should not cause race condition when used for"
      " configmaps")  # fmt: skip
def test_many_small_volumes_at_once(pods: Node) -> None:
    for n in range(RACING_PODS):
        pods.until(f"racing-{n}", ended("main"))
        assert pods.logs(f"racing-{n}", "main") == f"{RACING_VOLUMES}\n"


@real("[sig-storage] Secrets should be able to mount in a volume regardless of a different secret"
      " existing with same name in different namespace")  # fmt: skip
def test_a_secret_is_that_of_the_pods_own_namespace(pods: Node) -> None:
    other = f"{pods.namespace}-other"
    pods.plane.kubectl("create", "namespace", other)
    pods.plane.apply(other, secret("shared-name", {"data": "of somebody else"}))
    pods.until("shared-name", ended("main"))
    assert pods.logs("shared-name", "main") == "mine"
    pods.plane.kubectl("delete", "namespace", other, "--wait=false")
