"""The APIServices that the server keeps for what it serves itself (upstream's autoregister)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cluster.machinery.apiservices import order

Object = dict[str, Any]

LABEL = "kube-aggregator.kubernetes.io/automanaged"
ON_START, ALWAYS = "onstart", "true"
"""Built-in ones are made once at the start; those of custom resources come and go with them."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What has to be written so that there is an APIService for all that is served."""

    create: tuple[Object, ...]
    update: tuple[Object, ...]
    delete: tuple[str, ...]


def name_of(group: str, version: str) -> str:
    return f"{version}.{group}"


def local(group: str, version: str, kind: str) -> Object:
    """The APIService of what is served here; `kind` is ON_START or ALWAYS."""
    priority = order.of(group, version)
    return {
        "kind": "APIService",
        "apiVersion": "apiregistration.k8s.io/v1",
        "metadata": {"name": name_of(group, version), "labels": {LABEL: kind}},
        "spec": {
            **({"group": group} if group else {}),
            "version": version,
            "groupPriorityMinimum": priority.group,
            "versionPriority": priority.version,
        },
    }


def changes(wanted: Mapping[str, Object], held: Mapping[str, Object], starting: bool) -> Changes:
    """`wanted` and `held` by name. An object without the label belongs to somebody else.

    What is made ON_START is made, and made right again, while `starting` only.
    """
    create, update, delete = [], [], []
    for name, obj in wanted.items():
        now, kind = held.get(name), obj["metadata"]["labels"][LABEL]
        if kind == ON_START and not starting:
            continue
        if now is None:
            create.append(obj)
        elif managed(now) and now["spec"] != obj["spec"]:
            update.append(obj)
    for name, now in held.items():
        kind = managed(now)
        if name not in wanted and (kind == ALWAYS or (kind == ON_START and starting)):
            delete.append(name)
    return Changes(tuple(create), tuple(update), tuple(delete))


def managed(obj: Object) -> str:
    """How the server manages it; "" if it does not."""
    found = (obj["metadata"].get("labels") or {}).get(LABEL, "")
    return found if found in (ON_START, ALWAYS) else ""
