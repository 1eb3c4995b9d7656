"""Rows that are a container and what it prints: many of them are containers of one pod.

Scripts find volumes below "$RAYKUBE_MOUNTS", which is empty where a container has its own root.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from suite.rows import Shown
from suite.runtimes import Node

Object = dict[str, Any]
ROOT = "$RAYKUBE_MOUNTS"


@dataclass(frozen=True)
class Facts:
    """What an expectation may depend on."""

    pod: Object
    node: Object
    service_ip: str


Says = str | Callable[[Facts], str]


@dataclass(frozen=True)
class Check:
    """The container runs `script` in sh, and prints `says` (but for white space at its ends)."""

    row: str
    script: str
    says: Says
    container: Object | Callable[[Node], Object] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    gaps: Mapping[str, str] = field(default_factory=dict)
    lines: str = ""
    """Only lines that begin like this count, in any order."""

    @property
    def shown(self) -> Shown:
        return Shown((self.row,), ("processes", *self.needs), self.gaps)

    def made(self, node: Node, name: str) -> Object:
        own = self.container(node) if callable(self.container) else self.container
        return {"name": name, "command": ["sh", "-c", self.script], **own}

    def found(self, printed: str) -> str:
        if not self.lines:
            return printed.strip()
        return "\n".join(sorted(line for line in printed.split("\n") if re.match(self.lines, line)))

    def expected(self, facts: Facts) -> str:
        return self.says(facts) if callable(self.says) else self.says


@dataclass(frozen=True)
class Group:
    """One pod: its checks, what else its spec says, and the objects that it needs."""

    name: str
    checks: tuple[Check, ...]
    spec: Object | Callable[[Node], Object] = field(default_factory=dict)
    metadata: Object = field(default_factory=dict)
    objects: tuple[Object, ...] = ()
    beside: tuple[Object, ...] = ()
    """Containers that are no checks."""

    def made(self, node: Node) -> list[Object]:
        """Checks that the runtime cannot show are left out; no pod without any."""
        able = [
            check.made(node, f"c{number}")
            for number, check in enumerate(self.checks)
            if not check.shown.reason(node.runtime)
        ]
        if not able:
            return list(self.objects)
        spec = self.spec(node) if callable(self.spec) else self.spec
        more = {"restartPolicy": "Never", **spec}
        pod = node.pod(self.name, *able, *self.beside, metadata=dict(self.metadata), **more)
        return [*self.objects, pod]


def parameters(groups: tuple[Group, ...]) -> list[Any]:
    """For pytest.mark.parametrize: each check, marked with its row."""
    return [
        pytest.param(
            group,
            number,
            id=check.row.partition("] ")[2],
            marks=pytest.mark.shows(check.shown),
        )
        for group in groups
        for number, check in enumerate(group.checks)
    ]


def ended(container: str) -> Callable[[Object], bool]:
    def check(pod: Object) -> bool:
        found = pod["status"].get("containerStatuses") or ()
        return any(c["name"] == container and "terminated" in c["state"] for c in found)

    return check


def configmap(name: str, data: Mapping[str, str], **more: Any) -> Object:
    return {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": dict(data),
        **more,
    }  # fmt: skip


def secret(name: str, data: Mapping[str, str], **more: Any) -> Object:
    return {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
        "stringData": dict(data), **more,
    }  # fmt: skip


def mounted(**paths: str) -> Object:
    """Volume mounts: name of the volume -> path."""
    return {"volumeMounts": [{"name": n, "mountPath": path} for n, path in paths.items()]}
