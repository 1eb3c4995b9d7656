"""What stands on this node for which pod, kept on disk so that it outlives the kubelet.

`DATA/pods/UID/mounted/NAME.json` is written before anything is made, and removed after everything
is undone: whatever the moment a kubelet dies at, the next one knows what there may be.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace

from cluster.kubelet.runtimes import records
from cluster.kubelet.volumes.plugin import Placed

_READY = "ready"


class Placements:
    def __init__(self, data_dir: str) -> None:
        self._data_dir = data_dir
        self._known: dict[str, dict[str, Placed]] = {}
        self._ready: set[tuple[str, str]] = set()
        for uid in records.pod_uids(data_dir):
            self._load(uid)

    def _load(self, uid: str) -> None:
        folder = self._folder(uid)
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            if not name.endswith(".json"):
                continue
            found = records.read_json(folder, name) or {}
            ready = found.pop(_READY, False)
            placed = Placed(**found)
            self._known.setdefault(uid, {})[placed.name] = placed
            if ready:
                self._ready.add((uid, placed.name))

    def _folder(self, uid: str) -> str:
        return os.path.join(self._data_dir, "pods", uid, "mounted")

    def get(self, uid: str, name: str) -> Placed | None:
        return self._known.get(uid, {}).get(name)

    def of_pod(self, uid: str) -> list[Placed]:
        return list(self._known.get(uid, {}).values())

    def all(self) -> Iterator[Placed]:
        for placed in self._known.values():
            yield from placed.values()

    def users(self, identity: str, plugin: str) -> set[str]:
        """Uids of the pods that a volume stands for."""
        return {p.pod_uid for p in self.all() if (p.identity, p.plugin) == (identity, plugin)}

    def is_ready(self, placed: Placed) -> bool:
        """Whether it was made whole once, by this kubelet or an earlier one."""
        return (placed.pod_uid, placed.name) in self._ready

    def put(self, placed: Placed, *, ready: bool) -> None:
        folder = self._folder(placed.pod_uid)
        os.makedirs(folder, mode=0o750, exist_ok=True)
        path = os.path.join(folder, f"{placed.name}.json")
        with open(path + ".new", "w") as file:
            json.dump(placed.to_dict() | {_READY: ready}, file)
        os.replace(path + ".new", path)
        self._known.setdefault(placed.pod_uid, {})[placed.name] = replace(placed)
        if ready:
            self._ready.add((placed.pod_uid, placed.name))

    def drop(self, placed: Placed) -> None:
        path = os.path.join(self._folder(placed.pod_uid), f"{placed.name}.json")
        if os.path.exists(path):
            os.unlink(path)
        self._ready.discard((placed.pod_uid, placed.name))
        of_pod = self._known.get(placed.pod_uid, {})
        of_pod.pop(placed.name, None)
        if not of_pod:
            self._known.pop(placed.pod_uid, None)
