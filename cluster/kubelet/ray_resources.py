"""What Ray says a machine has, as extended resources of a node. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

OWN = ("CPU", "memory", "object_store_memory")
"""What the kubelet finds out by itself, or what is Ray's alone."""
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def extended(resources: Mapping[str, float]) -> dict[str, str]:
    """`ray.io/NAME`, in whole pieces: `{"GPU": 4.0}` is `{"ray.io/GPU": "4"}`.

    Labels of nodes, which Ray keeps as resources too ("node:10.0.0.1"), are none.
    """
    return {
        f"ray.io/{name}": str(int(amount))
        for name, amount in resources.items()
        if name not in OWN and _NAME.fullmatch(name) and amount >= 1
    }
