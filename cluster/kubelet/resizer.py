"""Carries out for one pod what `resizing` decides: allots, changes control groups, remembers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from cluster.kubelet import resizing, resources
from cluster.kubelet.cgroups.pods import PodGroups
from cluster.kubelet.resizing import Allotment
from cluster.kubelet.runtimes import records
from cluster.kubelet.runtimes.base import Container, Resizable, Runtime
from cluster.kubelet.runtimes.helpers.shim import write_json

Object = dict[str, Any]
Refusal = Callable[[Object], tuple[str, str] | None]
"""(reason, message) if a pod of this node cannot have what it asks for."""

_FILE = "allotment.json"


class Resizer:
    """`allotment` is None until the pod's first container is started."""

    def __init__(
        self,
        uid: str,
        data_dir: str,
        runtime: Runtime,
        groups: PodGroups | None,
        refusal: Refusal,
        allocatable: Mapping[str, str],
    ) -> None:
        self._uid, self._runtime, self._groups = uid, runtime, groups
        self._refusal, self._allocatable = refusal, allocatable
        self._folder = os.path.join(data_dir, "pods", uid)
        record = records.read_json(self._folder, _FILE)
        self.allotment = Allotment.of_record(record) if record else None

    def first(self, pod: Object) -> None:
        """The node has taken the pod: it is given what it asks for."""
        if self.allotment is None:
            wanted = resizing.asked(pod)
            self._keep(Allotment(wanted, wanted))

    def started(self, name: str) -> None:
        """A container starts with what it was given."""
        if self.allotment is not None and name in self.allotment.unenforced():
            self._keep(self.allotment.enforced(name))

    def allot(self, pod: Object) -> bool:
        """Whether the pod is given something else from now on."""
        if self.allotment is None:
            return False
        refusal = self._refusal(pod) if resizing.is_asked(pod, self.allotment) else None
        new = resizing.give(pod, self.allotment, refusal)
        if new == self.allotment:
            return False
        self._keep(new)
        return True

    async def enforce(self, pod: Object) -> list[Container]:
        """Bring the kernel's limits to what was given; the containers that must start anew."""
        if self.allotment is None or not self.allotment.unenforced():
            return []
        again = []
        running = {c.name: c for c in self._runtime.containers(self._uid) if c.running}
        specs = {c["name"]: c for c in resizing.containers(pod)}
        try:
            self._loosen()
            for name in self.allotment.unenforced():
                given, actual = self.allotment.given[name], self.allotment.actual.get(name, {})
                if name in running and resizing.must_restart(specs[name], given, actual):
                    again.append(running[name])
                    continue
                await self._change(pod, specs[name], running.get(name))
            if self._groups is not None and not again:
                self._groups.set_up(pod)
        except OSError as error:
            self._keep(replace(self.allotment, error=str(error)))
        return again

    def _loosen(self) -> None:
        """A container's limit may not be above its pod's, not even for a moment."""
        if self._groups is not None:
            self._groups.loosen(self._uid)

    async def _change(self, pod: Object, spec: Object, running: Container | None) -> None:
        assert self.allotment is not None
        if running is not None and isinstance(self._runtime, Resizable):
            wanted = resources.of_container(pod, spec, self._allocatable)
            await self._runtime.resize(running.container_id, wanted)
        self._keep(self.allotment.enforced(spec["name"]))

    def _keep(self, allotment: Allotment) -> None:
        if self.allotment is None or allotment.record() != self.allotment.record():
            os.makedirs(self._folder, exist_ok=True)
            write_json(os.path.join(self._folder, _FILE), allotment.record())
        self.allotment = allotment
