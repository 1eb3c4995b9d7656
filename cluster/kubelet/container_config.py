"""From a pod's container to what the runtime is to run. Pure, but for what it is given."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from cluster.kubelet.environment import ConfigError, expand
from cluster.kubelet.runtimes.base import ContainerSpec, Mount
from cluster.kubelet.sandbox import hostname

Object = dict[str, Any]


def log_folder(data_dir: str, pod: Object, name: str) -> str:
    metadata = pod["metadata"]
    pod_folder = f"{metadata.get('namespace', 'default')}_{metadata['name']}_{metadata['uid']}"
    return os.path.join(data_dir, "logs", "pods", pod_folder, name)


def build(
    pod: Object,
    container: Object,
    *,
    attempt: int,
    container_id: str,
    env: Mapping[str, str],
    host_path: str,
    mounts: Sequence[Mount],
    data_dir: str,
    target_id: str = "",
) -> ContainerSpec:
    """Raises ConfigError. `host_path`: PATH of the host, whose files the container sees."""
    base = {"PATH": host_path, "HOSTNAME": hostname(pod), "HOME": "/root"}
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    security = container.get("securityContext") or {}
    uid, gid, groups = identity(pod, container)
    folder = log_folder(data_dir, pod, container["name"])
    return ContainerSpec(
        pod_uid=pod["metadata"]["uid"],
        name=container["name"],
        attempt=attempt,
        container_id=container_id,
        command=[expand(word, env) for word in words],
        env=base | dict(env),
        log_path=os.path.join(folder, f"{attempt}.log"),
        hostname=hostname(pod),
        working_dir=container.get("workingDir") or "",
        mounts=mounts,
        uid=uid,
        gid=gid,
        groups=groups,
        read_only_root=bool(security.get("readOnlyRootFilesystem")),
        no_new_privileges=security.get("allowPrivilegeEscalation") is False,
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        tty=bool(container.get("tty")),
        target_id=target_id,
    )


def identity(pod: Object, container: Object) -> tuple[int | None, int | None, list[int]]:
    """(uid, gid, supplementary groups); the container's own settings win over the pod's."""
    shared = pod["spec"].get("securityContext") or {}
    merged = shared | {
        key: value
        for key, value in (container.get("securityContext") or {}).items()
        if value is not None
    }
    uid, gid = merged.get("runAsUser"), merged.get("runAsGroup")
    name = container["name"]
    if merged.get("runAsNonRoot") and uid in (None, 0):
        cause = "image will run as root" if uid is None else "container's runAsUser breaks"
        raise ConfigError(f"container has runAsNonRoot and {cause} (container: {name})")
    if (uid is not None or gid is not None) and os.geteuid() != 0:
        raise ConfigError(f"container {name}: runAsUser and runAsGroup need a node run by root")
    groups = list(shared.get("supplementalGroups") or ())
    if shared.get("fsGroup") is not None:
        groups.append(shared["fsGroup"])
    return uid, gid, groups
