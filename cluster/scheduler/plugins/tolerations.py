"""Whether a pod's tolerations cover a taint. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cluster.scheduler.columns.columns import Taint

Object = dict[str, Any]


def tolerated(tolerations: Iterable[Object], taint: Taint) -> bool:
    return any(_covers(toleration, taint) for toleration in tolerations)


def _covers(toleration: Object, taint: Taint) -> bool:
    """An empty key with Exists covers every taint; an empty effect covers every effect."""
    key, value, effect = taint
    if toleration.get("effect") and toleration["effect"] != effect:
        return False
    if toleration.get("key") and toleration["key"] != key:
        return False
    if (toleration.get("operator") or "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == value
