"""How far apart the process runtime keeps containers, and what it says where that is not far.

"root": namespaces and a root of their own. "user": the same within a user namespace, for containers
with an image, where there is no root; one user outside stands for whoever it is inside. "plain": a
session, a folder and an environment.
"""

from __future__ import annotations

from cluster.kubelet.runtimes.base import ContainerSpec, RuntimeFailure
from cluster.kubelet.runtimes.helpers.namespaces import IPC_SYSCTLS

IMAGELESS_WARNING = (
    "without root only containers whose image is on this node have their own file system: for "
    "others volumes are under $RAYKUBE_MOUNTS, and they share the host's files and processes"
)
PLAIN_WARNING = (
    "this node cannot give containers their own file system (no root, or no overlayfs): "
    "volumes are under $RAYKUBE_MOUNTS instead of at their mountPath, and the pod shares "
    "the host's files and processes"
)


def warning(kind: str, *, own_users: bool) -> str:
    """For an event on each pod; "" if there is nothing to say. `own_users`: "user" works here."""
    if kind == "root":
        return ""
    return IMAGELESS_WARNING if own_users else PLAIN_WARNING


def refuse_what_is_not_there(spec: ContainerSpec) -> None:
    """Rather than run without what somebody relies on. Raises RuntimeFailure."""
    if spec.seccomp.kind == "Localhost":
        text = "seccomp profiles of type Localhost need a runtime that reads them (cri, docker)"
        raise RuntimeFailure("CreateContainerError", f"container {spec.name}: {text}")
    for name in spec.sandbox.sysctls if spec.sandbox else ():
        if not name.startswith(IPC_SYSCTLS):
            text = f"sysctl {name} needs a network namespace, and pods here share the host's"
            raise RuntimeFailure("CreateContainerError", text)
