"""In-place resize: what a pod was given, what it asks for now, and what is to be told. Pure.

After KEP-1287: a node first allots what is asked for (`Allotment.given`), then makes the kernel
enforce it (`.actual`). Both are kept on disk, so that a new kubelet goes on where the last one was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cluster.machinery import quantity

Object = dict[str, Any]

PENDING, IN_PROGRESS = "PodResizePending", "PodResizeInProgress"
CONDITIONS = (PENDING, IN_PROGRESS)
_KINDS = ("containers", "initContainers")
_NAMES = ("cpu", "memory")


@dataclass(frozen=True)
class Allotment:
    """`resources` by container name. `pending`: (reason, message) of what is asked for and not
    given; `error`: why the kernel does not enforce yet what was given."""

    given: Mapping[str, Object] = field(default_factory=dict)
    actual: Mapping[str, Object] = field(default_factory=dict)
    pending: tuple[str, str] | None = None
    error: str = ""

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Allotment:
        return cls(dict(record["given"]), dict(record["actual"]))

    def record(self) -> Object:
        return {"given": dict(self.given), "actual": dict(self.actual)}

    @property
    def is_settled(self) -> bool:
        return self.pending is None and not self.unenforced()

    def unenforced(self) -> list[str]:
        """Containers that the kernel still holds to something else."""
        return [n for n, given in self.given.items() if not same(given, self.actual.get(n, given))]

    def enforced(self, name: str) -> Allotment:
        """The container has what it was given: it was changed, or has just been started."""
        return replace(self, actual={**self.actual, name: self.given[name]}, error="")


def containers(pod: Object) -> Iterable[Object]:
    for kind in _KINDS:
        yield from pod["spec"].get(kind) or ()


def asked(pod: Object) -> dict[str, Object]:
    return {c["name"]: c.get("resources") or {} for c in containers(pod)}


def same(one: Object, other: Object) -> bool:
    """Of cpu and memory, by amount and not by spelling."""
    return _amounts(one) == _amounts(other)


def _amounts(resources: Object) -> dict[tuple[str, str], int]:
    return {
        (part, name): quantity.parse(text)
        for part in ("requests", "limits")
        for name, text in (resources.get(part) or {}).items()
        if name in _NAMES
    }


def is_asked(pod: Object, allotment: Allotment) -> bool:
    """Whether the pod wants something else than it was given."""
    wanted = asked(pod)
    return any(not same(wanted.get(name, {}), given) for name, given in allotment.given.items())


def as_given(pod: Object, allotment: Allotment | None) -> Object:
    """The pod with the resources that it was given in place of those that it asks for."""
    if allotment is None or not is_asked(pod, allotment):
        return pod
    spec = dict(pod["spec"])
    for kind in _KINDS:
        if spec.get(kind):
            spec[kind] = [
                c | {"resources": allotment.given[c["name"]]} if c["name"] in allotment.given else c
                for c in spec[kind]
            ]
    return pod | {"spec": spec}


def give(pod: Object, allotment: Allotment, refusal: tuple[str, str] | None) -> Allotment:
    """What is asked for is given, or is pending for the reason of the `refusal`."""
    if not is_asked(pod, allotment):
        return replace(allotment, pending=None)
    if refusal is not None:
        return replace(allotment, pending=refusal)
    return replace(allotment, given=asked(pod), pending=None)


def must_restart(container: Object, given: Object, actual: Object) -> bool:
    """Whether a change of these resources takes a new start of the container."""
    new, old = _amounts(given), _amounts(actual)
    changed = {key[1] for key in new.keys() | old.keys() if new.get(key) != old.get(key)}
    policies = {p["resourceName"]: p["restartPolicy"] for p in container.get("resizePolicy") or ()}
    return any(policies.get(name) == "RestartContainer" for name in changed)


def conditions(allotment: Allotment | None) -> list[Object]:
    """Without times."""
    found: list[Object] = []
    if allotment is None:
        return found
    if allotment.pending is not None:
        reason, message = allotment.pending
        found.append({"type": PENDING, "status": "True", "reason": reason, "message": message})
    if allotment.unenforced():
        entry: Object = {"type": IN_PROGRESS, "status": "True"}
        if allotment.error:
            entry |= {"reason": "Error", "message": allotment.error}
        found.append(entry)
    return found


def told(name: str, allotment: Allotment | None) -> Object:
    """What the status of a container says of its resources."""
    if allotment is None or not allotment.given.get(name):
        return {}
    given = allotment.given[name]
    found: Object = {"resources": dict(allotment.actual.get(name, given))}
    if given.get("requests"):
        found["allocatedResources"] = dict(given["requests"])
    return found
