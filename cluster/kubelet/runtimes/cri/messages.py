"""Between the kubelet's own values and CRI's messages. Pure."""

from __future__ import annotations

import os
import signal
from typing import Any

from cluster.kubelet.runtimes.base import Container, ContainerSpec, PodSandbox, Resources, Usage
from cluster.kubelet.runtimes.cri import protocol_pb2 as pb
from cluster.kubelet.runtimes.images import Credentials, Image

POD_UID, POD_NAME = "io.kubernetes.pod.uid", "io.kubernetes.pod.name"
POD_NAMESPACE, CONTAINER_NAME = "io.kubernetes.pod.namespace", "io.kubernetes.container.name"
NODE_FOLDER = "raykube.dev/node-folder"
"""Whose they are: several nodes of a machine may share one container manager."""

MASKED = (
    *("/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys"),
    *("/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug"),
    *("/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"),
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
"""As upstream's kubelet has it for procMount Default: no container manager is trusted to know."""

CPU_PERIOD_US = 100_000
_SHARES_MIN, _SHARES_MAX, _QUOTA_US_MIN = 2, 262_144, 1000
_UNKNOWN_EXIT_CODE = 137
_S = 1e9


_PROPAGATION = {
    "None": pb.PROPAGATION_PRIVATE,
    "HostToContainer": pb.PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": pb.PROPAGATION_BIDIRECTIONAL,
}


def owned(node_folder: str, pod_uid: str = "") -> dict[str, str]:
    """The labels by which what belongs to a node, or to a pod of it, is found."""
    return {NODE_FOLDER: node_folder} | ({POD_UID: pod_uid} if pod_uid else {})


# -- sandboxes -------------------------------------------------------------------------------


def sandbox_config(sandbox: PodSandbox, node_folder: str, attempt: int, *, on_host: bool) -> Any:
    """`on_host`: the pods of this node have the network of the host."""
    labels = _pod_labels(sandbox, node_folder)
    of_host = on_host or sandbox.host_network
    return pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(
            name=sandbox.name, uid=sandbox.uid, namespace=sandbox.namespace, attempt=attempt
        ),
        hostname="" if of_host else sandbox.hostname,
        log_directory=sandbox.log_folder,
        labels=dict(sandbox.labels) | labels,
        annotations=dict(sandbox.annotations),
        linux=pb.LinuxPodSandboxConfig(
            sysctls=dict(sandbox.sysctls),
            security_context=pb.LinuxSandboxSecurityContext(
                namespace_options=namespaces(sandbox, on_host=on_host),
                privileged=sandbox.privileged,
                seccomp=pb.SecurityProfile(profile_type=pb.SecurityProfile.RuntimeDefault),
            ),
        ),
    )


def _pod_labels(sandbox: PodSandbox, node_folder: str) -> dict[str, str]:
    own = {POD_NAME: sandbox.name, POD_NAMESPACE: sandbox.namespace}
    return own | owned(node_folder, sandbox.uid)


def namespaces(sandbox: PodSandbox, *, on_host: bool, target_id: str = "") -> Any:
    pid = pb.CONTAINER
    if target_id:
        pid = pb.TARGET
    elif sandbox.host_pid:
        pid = pb.NODE
    elif sandbox.share_processes:
        pid = pb.POD
    return pb.NamespaceOption(
        network=pb.NODE if on_host or sandbox.host_network else pb.POD,
        pid=pid,
        ipc=pb.NODE if sandbox.host_ipc else pb.POD,
        target_id=target_id,
    )


# -- containers ------------------------------------------------------------------------------


def container_config(spec: ContainerSpec, image: Image, node_folder: str, *, on_host: bool) -> Any:
    """Of a container whose image is here."""
    sandbox = spec.sandbox or PodSandbox(spec.pod_uid)
    env = {"HOSTNAME": spec.hostname} | dict(spec.env)
    return pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name=spec.name, attempt=spec.attempt),
        image=pb.ImageSpec(image=image.id, user_specified_image=spec.image),
        command=spec.command,
        args=spec.args,
        working_dir=spec.working_dir,
        envs=[pb.KeyValue(key=key, value=value) for key, value in env.items()],
        mounts=[
            pb.Mount(
                container_path=m.target,
                host_path=m.source,
                readonly=m.read_only,
                propagation=_PROPAGATION[m.propagation],
            )
            for m in spec.mounts
            if not m.is_device
        ],
        devices=[
            pb.Device(
                container_path=m.target,
                host_path=m.source,
                permissions="r" if m.read_only else "mrw",
            )
            for m in spec.mounts
            if m.is_device
        ],
        labels=_pod_labels(sandbox, node_folder) | {CONTAINER_NAME: spec.name},
        log_path=os.path.relpath(spec.log_path, sandbox.log_folder),
        stdin=spec.stdin,
        stdin_once=spec.stdin_once,
        tty=spec.tty,
        linux=pb.LinuxContainerConfig(
            resources=linux_resources(spec.resources),
            security_context=_security(spec, image, node_folder, on_host=on_host),
        ),
    )


def _security(spec: ContainerSpec, image: Image, node_folder: str, *, on_host: bool) -> Any:
    """A user must be named wherever a group is, so that of the image stands in for none."""
    sandbox = spec.sandbox or PodSandbox(spec.pod_uid)
    security = pb.LinuxContainerSecurityContext(
        capabilities=pb.Capability(
            add_capabilities=spec.add_capabilities, drop_capabilities=spec.drop_capabilities
        ),
        privileged=spec.privileged,
        namespace_options=namespaces(sandbox, on_host=on_host, target_id=spec.target_id),
        readonly_rootfs=spec.read_only_root,
        supplemental_groups=spec.groups,
        no_new_privs=spec.no_new_privileges,
        seccomp=seccomp(spec, node_folder),
        masked_paths=() if spec.privileged else MASKED,
        readonly_paths=() if spec.privileged else READ_ONLY,
    )
    uid = spec.uid if spec.uid is not None else image.uid
    if uid is not None:
        security.run_as_user.value = uid
    elif image.username:
        security.run_as_username = image.username
    if spec.gid is not None:
        security.run_as_group.value = spec.gid
    return security


def seccomp(spec: ContainerSpec, node_folder: str) -> Any:
    """Profiles of type Localhost are files below `seccomp` in the node's folder."""
    kind = "Unconfined" if spec.privileged else spec.seccomp.kind
    profile = pb.SecurityProfile(profile_type=pb.SecurityProfile.ProfileType.Value(kind))
    if kind == "Localhost":
        profile.localhost_ref = seccomp_file(spec, node_folder)
    return profile


def seccomp_file(spec: ContainerSpec, node_folder: str) -> str:
    return os.path.join(node_folder, "seccomp", spec.seccomp.path)


def linux_resources(resources: Resources) -> Any:
    """CPU shares and quota as upstream's kubelet makes them of thousandths of a processor."""
    shares = resources.cpu_request_milli * 1024 // 1000
    quota = resources.cpu_limit_milli * CPU_PERIOD_US // 1000
    return pb.LinuxContainerResources(
        cpu_shares=max(_SHARES_MIN, min(_SHARES_MAX, shares)),
        cpu_period=CPU_PERIOD_US if quota else 0,
        cpu_quota=max(_QUOTA_US_MIN, quota) if quota else 0,
        memory_limit_in_bytes=resources.memory_limit_bytes,
        oom_score_adj=resources.oom_score_adj,
    )


def container(status: Any, pod_uid: str) -> Container:
    """From a ContainerStatus."""
    running = status.state == pb.CONTAINER_RUNNING
    known = status.state != pb.CONTAINER_UNKNOWN
    code = status.exit_code if known else _UNKNOWN_EXIT_CODE
    reason = status.reason or ("Completed" if code == 0 else "Error")
    return Container(
        pod_uid=pod_uid,
        name=status.metadata.name,
        attempt=status.metadata.attempt,
        container_id=status.id,
        log_path=status.log_path,
        running=running,
        started_at_s=(status.started_at or status.created_at) / _S,
        finished_at_s=0.0 if running else (status.finished_at or status.created_at) / _S,
        exit_code=0 if running else code,
        signal=0 if running else signal_of(code),
        reason="" if running else reason if known else "ContainerStatusUnknown",
        message="" if running else status.message,
        image_id=status.image_ref,
    )


def signal_of(exit_code: int) -> int:
    """A container that a signal ended exits with 128 and its number."""
    number = exit_code - 128
    return number if number in {int(each) for each in signal.Signals} else 0


def usage(stats: Any) -> Usage:
    cpu, memory = stats.cpu, stats.memory
    return Usage(
        cpu_ns=cpu.usage_core_nano_seconds.value,
        working_set_bytes=memory.working_set_bytes.value,
        rss_bytes=memory.rss_bytes.value,
        page_faults=memory.page_faults.value,
        major_page_faults=memory.major_page_faults.value,
    )


# -- images ----------------------------------------------------------------------------------


def image(found: Any) -> Image:
    return Image(
        id=found.id,
        tags=tuple(found.repo_tags),
        digests=tuple(found.repo_digests),
        size_bytes=found.size,
        uid=found.uid.value if found.HasField("uid") else None,
        username=found.username,
        pinned=found.pinned,
    )


def auth(credentials: Credentials) -> Any:
    return pb.AuthConfig(
        username=credentials.username,
        password=credentials.password,
        identity_token=credentials.identity_token,
        registry_token=credentials.registry_token,
    )
