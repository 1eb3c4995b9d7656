"""From a pod's container to what the runtime is to run. Pure, but for what it is given."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from cluster.kubelet import resources
from cluster.kubelet.environment import ConfigError, expand
from cluster.kubelet.runtimes.base import ContainerSpec, Mount, PodSandbox, Seccomp
from cluster.kubelet.sandbox import hostname

Object = dict[str, Any]


def log_folder(data_dir: str, pod: Object) -> str:
    """Of a pod; its containers have folders in it."""
    metadata = pod["metadata"]
    name = f"{metadata.get('namespace', 'default')}_{metadata['name']}_{metadata['uid']}"
    return os.path.join(data_dir, "logs", "pods", name)


def sandbox(
    pod: Object, data_dir: str, runtime_handler: str = "", cgroup_parent: str = ""
) -> PodSandbox:
    """What its containers share."""
    metadata, spec = pod["metadata"], pod["spec"]
    every = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    sysctls = (spec.get("securityContext") or {}).get("sysctls") or ()
    return PodSandbox(
        uid=metadata["uid"],
        name=metadata["name"],
        namespace=metadata.get("namespace", "default"),
        hostname=hostname(pod),
        log_folder=log_folder(data_dir, pod),
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        runtime_handler=runtime_handler,
        host_network=bool(spec.get("hostNetwork")),
        host_pid=bool(spec.get("hostPID")),
        host_ipc=bool(spec.get("hostIPC")),
        share_processes=bool(spec.get("shareProcessNamespace")),
        privileged=any((c.get("securityContext") or {}).get("privileged") for c in every),
        sysctls={each["name"]: each["value"] for each in sysctls},
        cgroup_parent=cgroup_parent,
    )


def build(
    pod: Object,
    container: Object,
    *,
    attempt: int,
    container_id: str,
    env: Mapping[str, str],
    mounts: Sequence[Mount],
    shared: PodSandbox,
    allocatable: Mapping[str, str],
    target_id: str = "",
) -> ContainerSpec:
    """Raises ConfigError. `allocatable` is the node's."""
    security = container.get("securityContext") or {}
    capabilities = security.get("capabilities") or {}
    uid, gid, groups = identity(pod, container)
    return ContainerSpec(
        pod_uid=pod["metadata"]["uid"],
        name=container["name"],
        attempt=attempt,
        container_id=container_id,
        command=[expand(word, env) for word in container.get("command") or ()],
        args=[expand(word, env) for word in container.get("args") or ()],
        env=dict(env),
        log_path=os.path.join(shared.log_folder, container["name"], f"{attempt}.log"),
        image=container.get("image") or "",
        sandbox=shared,
        hostname=hostname(pod),
        working_dir=container.get("workingDir") or "",
        mounts=mounts,
        uid=uid,
        gid=gid,
        groups=groups,
        must_not_be_root=_must_not_be_root(pod, container),
        read_only_root=bool(security.get("readOnlyRootFilesystem")),
        no_new_privileges=security.get("allowPrivilegeEscalation") is False,
        privileged=bool(security.get("privileged")),
        add_capabilities=capabilities.get("add") or (),
        drop_capabilities=capabilities.get("drop") or (),
        seccomp=seccomp(pod, container),
        resources=resources.of_container(pod, container, allocatable),
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        tty=bool(container.get("tty")),
        target_id=target_id,
    )


def _must_not_be_root(pod: Object, container: Object) -> bool:
    own = (container.get("securityContext") or {}).get("runAsNonRoot")
    shared = (pod["spec"].get("securityContext") or {}).get("runAsNonRoot")
    return bool(shared if own is None else own)


def seccomp(pod: Object, container: Object) -> Seccomp:
    """The container's own profile wins over the pod's."""
    for holder in (container, pod["spec"]):
        profile = (holder.get("securityContext") or {}).get("seccompProfile")
        if profile:
            return Seccomp(profile["type"], profile.get("localhostProfile") or "")
    return Seccomp()


def identity(pod: Object, container: Object) -> tuple[int | None, int | None, list[int]]:
    """(uid, gid, supplementary groups); the container's own settings win over the pod's."""
    shared = pod["spec"].get("securityContext") or {}
    merged = shared | {
        key: value
        for key, value in (container.get("securityContext") or {}).items()
        if value is not None
    }
    uid, gid = merged.get("runAsUser"), merged.get("runAsGroup")
    if merged.get("runAsNonRoot") and uid == 0:
        name = container["name"]
        raise ConfigError(
            f"container has runAsNonRoot and container's runAsUser breaks (container: {name})"
        )
    groups = list(shared.get("supplementalGroups") or ())
    if shared.get("fsGroup") is not None:
        groups.append(shared["fsGroup"])
    return uid, gid, groups
