"""Between the kubelet's own values and the Engine API's JSON. Pure."""

from __future__ import annotations

import base64
import json
from typing import Any

from cluster.kubelet.runtimes.base import Container, ContainerSpec, PodSandbox, Resources, Usage
from cluster.kubelet.runtimes.cri.messages import (
    CONTAINER_NAME,
    CPU_PERIOD_US,
    POD_NAME,
    POD_NAMESPACE,
    POD_UID,
    owned,
    seccomp_file,
    signal_of,
)
from cluster.kubelet.runtimes.images import Credentials, Image
from cluster.machinery import meta

Object = dict[str, Any]

ATTEMPT, LOG_PATH = "raykube.dev/attempt", "raykube.dev/log-path"
SANDBOX = "POD"
"""The container name of what holds a pod's namespaces."""


def name(sandbox: PodSandbox, container: str, attempt: int) -> str:
    """Unique on the machine, and readable in `docker ps`."""
    return f"k8s_{container}_{sandbox.name}_{sandbox.namespace}_{sandbox.uid}_{attempt}"


def _labels(sandbox: PodSandbox, node_folder: str, container: str) -> dict[str, str]:
    own = {POD_NAME: sandbox.name, POD_NAMESPACE: sandbox.namespace, CONTAINER_NAME: container}
    return dict(sandbox.labels) | own | owned(node_folder, sandbox.uid)


def sandbox_config(sandbox: PodSandbox, node_folder: str, image: str) -> Object:
    """Of the container that holds the pod's namespaces. The network is the host's."""
    host = {
        "NetworkMode": "host",
        "IpcMode": "host" if sandbox.host_ipc else "shareable",
        "PidMode": "host" if sandbox.host_pid else "",
        "Sysctls": dict(sandbox.sysctls),
        "RestartPolicy": {"Name": "no"},
    }
    if sandbox.runtime_handler:
        host["Runtime"] = sandbox.runtime_handler
    return {
        "Image": image,
        "Labels": _labels(sandbox, node_folder, SANDBOX),
        "HostConfig": host,
    } | ({} if sandbox.host_network else {"Hostname": sandbox.hostname})


def container_config(spec: ContainerSpec, node_folder: str, sandbox_id: str) -> Object:
    sandbox = spec.sandbox or PodSandbox(spec.pod_uid)
    own = {ATTEMPT: str(spec.attempt), LOG_PATH: spec.log_path}
    config: Object = {
        "Image": spec.image,
        "Env": [f"{k}={v}" for k, v in ({"HOSTNAME": spec.hostname} | dict(spec.env)).items()],
        "WorkingDir": spec.working_dir,
        "Labels": _labels(sandbox, node_folder, spec.name) | own,
        "Tty": spec.tty,
        "OpenStdin": spec.stdin,
        "StdinOnce": spec.stdin_once,
        "User": _user(spec),
        "HostConfig": _host_config(spec, sandbox, sandbox_id, node_folder),
    }
    config |= {"Entrypoint": list(spec.command)} if spec.command else {}
    config |= {"Cmd": list(spec.args)} if spec.args else {}
    return config | ({} if sandbox.host_network else {"Hostname": spec.hostname})


def _user(spec: ContainerSpec) -> str:
    if spec.uid is None and spec.gid is None:
        return ""
    user = "0" if spec.uid is None else str(spec.uid)
    return user if spec.gid is None else f"{user}:{spec.gid}"


def _host_config(
    spec: ContainerSpec, sandbox: PodSandbox, sandbox_id: str, node_folder: str
) -> Object:
    pid = ""
    if spec.target_id:
        pid = f"container:{spec.target_id}"
    elif sandbox.host_pid:
        pid = "host"
    elif sandbox.share_processes:
        pid = f"container:{sandbox_id}"
    host: Object = {
        "NetworkMode": "host",
        "IpcMode": "host" if sandbox.host_ipc else f"container:{sandbox_id}",
        "PidMode": pid,
        "Mounts": [
            {"Type": "bind", "Source": m.source, "Target": m.target, "ReadOnly": m.read_only}
            for m in spec.mounts
        ],
        "GroupAdd": [str(group) for group in spec.groups],
        "ReadonlyRootfs": spec.read_only_root,
        "Privileged": spec.privileged,
        "CapAdd": list(spec.add_capabilities),
        "CapDrop": list(spec.drop_capabilities),
        "SecurityOpt": _security_options(spec, node_folder),
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}},
        "RestartPolicy": {"Name": "no"},
        "OomScoreAdj": spec.resources.oom_score_adj,
    }
    if sandbox.runtime_handler:
        host["Runtime"] = sandbox.runtime_handler
    return host | limits(spec.resources)


def _security_options(spec: ContainerSpec, node_folder: str) -> list[str]:
    """A Localhost profile is passed on as its text: the daemon reads no files."""
    found = ["no-new-privileges"] if spec.no_new_privileges else []
    if spec.seccomp.kind == "Unconfined":
        found.append("seccomp=unconfined")
    elif spec.seccomp.kind == "Localhost":
        with open(seccomp_file(spec, node_folder)) as file:
            found.append(f"seccomp={file.read()}")
    return found


def limits(resources: Resources) -> Object:
    quota = resources.cpu_limit_milli * CPU_PERIOD_US // 1000
    return {
        "CpuShares": max(2, resources.cpu_request_milli * 1024 // 1000),
        "CpuPeriod": CPU_PERIOD_US if quota else 0,
        "CpuQuota": max(1000, quota) if quota else 0,
        "Memory": resources.memory_limit_bytes,
        "MemorySwap": resources.memory_limit_bytes,
    }


def container(found: Object) -> Container:
    """From what `inspect` tells."""
    labels, state = found["Config"]["Labels"], found["State"]
    running = bool(state["Running"])
    code = int(state["ExitCode"])
    reason = "OOMKilled" if state.get("OOMKilled") else "Error" if code else "Completed"
    return Container(
        pod_uid=labels[POD_UID],
        name=labels[CONTAINER_NAME],
        attempt=int(labels[ATTEMPT]),
        container_id=found["Id"],
        log_path=labels[LOG_PATH],
        running=running,
        started_at_s=time_of(state["StartedAt"]),
        finished_at_s=0.0 if running else time_of(state["FinishedAt"]),
        exit_code=0 if running else code,
        signal=0 if running else signal_of(code),
        reason="" if running else reason,
        message="" if running else state.get("Error") or "",
        image_id=found["Image"],
    )


def time_of(text: str) -> float:
    """Wall seconds of "2026-01-02T03:04:05.678901234Z"."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return meta.parse_time(whole + "Z") + float(f"0.{fraction or 0}")


def usage(stats: Object) -> Usage:
    memory = stats.get("memory_stats") or {}
    detail = memory.get("stats") or {}
    used = int(memory.get("usage") or 0)
    cold = detail.get("total_inactive_file", detail.get("inactive_file", 0))
    return Usage(
        cpu_ns=int(stats["cpu_stats"]["cpu_usage"]["total_usage"]),
        working_set_bytes=max(0, used - int(cold)),
        rss_bytes=int(detail.get("total_rss", detail.get("anon", 0))),
        page_faults=int(detail.get("total_pgfault", detail.get("pgfault", 0))),
        major_page_faults=int(detail.get("total_pgmajfault", detail.get("pgmajfault", 0))),
        processes=int((stats.get("pids_stats") or {}).get("current") or 0),
    )


def image(found: Object) -> Image:
    """From what `inspect` or a list tells."""
    user = str((found.get("Config") or {}).get("User") or "").partition(":")[0]
    return Image(
        id=found["Id"],
        tags=tuple(found.get("RepoTags") or ()),
        digests=tuple(found.get("RepoDigests") or ()),
        size_bytes=int(found.get("Size") or 0),
        uid=int(user) if user.isdigit() else None,
        username="" if user.isdigit() else user,
    )


def auth(credentials: Credentials) -> str:
    """The header X-Registry-Auth."""
    values = {
        "username": credentials.username,
        "password": credentials.password,
        "identitytoken": credentials.identity_token,
        "registrytoken": credentials.registry_token,
    }
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()
