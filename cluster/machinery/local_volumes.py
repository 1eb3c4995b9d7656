"""The embedded provisioner's volumes: what controller and kubelet say to one another. Pure.

A volume is a folder of its node (or a file system of its size in a file there). The kubelet makes
it when a pod first needs it, and says before on its Node that it holds it; the controller says on
the Node which volumes are released; a volume is gone once its node does not hold it any more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

Object = dict[str, Any]

PROVISIONER = "raykube.io/local"
DRIVER = "local.raykube.io"
"""In the volumes themselves: names of drivers have no slash."""
CLASS = "local"
HELD = "volumes.raykube.dev/held"
RELEASED = "volumes.raykube.dev/released"
FINALIZER = "volumes.raykube.dev/held-by-node"
SIZE_LIMIT = "sizeLimit"
"""Parameter of a class, attribute of a volume: "off" makes plain folders everywhere."""
HOSTNAME = "kubernetes.io/hostname"

_HANDLE = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def is_local(volume: Object) -> bool:
    """Whether a PersistentVolume is one of these."""
    return ((volume["spec"].get("csi") or {}).get("driver")) == DRIVER


def is_handle(text: str) -> bool:
    """Handles are names of folders, and nothing else."""
    return bool(_HANDLE.fullmatch(text)) and ".." not in text


def handle_of(volume: Object) -> str:
    return str(volume["spec"]["csi"]["volumeHandle"])


def names_in(node: Object, annotation: str) -> set[str]:
    """The volumes that an annotation of a Node lists."""
    text = (node["metadata"].get("annotations") or {}).get(annotation) or ""
    return set(filter(None, text.split(",")))


def listed(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


def node_of(volume: Object) -> str:
    """Whose host name the volume's affinity asks for; "" if it names none."""
    required = (volume["spec"].get("nodeAffinity") or {}).get("required") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for expression in term.get("matchExpressions") or ():
            if expression.get("key") == HOSTNAME and expression.get("values"):
                return str(expression["values"][0])
    return ""
