"""The control groups below one folder of each hierarchy: made, limited, read, ended, removed.

With cgroup v1 every controller may have a hierarchy of its own, and a group is a folder of the
same name in each; with v2 there is one. Errors are OSError, from the kernel.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cluster.kubelet.cgroups.limits import Limits, Setting, v1_settings, v2_settings

CONTROLLERS = ("cpu", "cpuacct", "memory", "pids")
_KILL_ROUNDS = 200
_ROUND_S = 0.01


@dataclass(frozen=True)
class GroupUsage:
    """`memory_bytes` is all that is charged; the working set lacks what can be had back at once."""

    cpu_ns: int = 0
    memory_bytes: int = 0
    working_set_bytes: int = 0
    rss_bytes: int = 0
    page_faults: int = 0
    major_page_faults: int = 0
    processes: int = 0
    throttled_ns: int = 0


@dataclass(frozen=True)
class Tree:
    """`roots`: folder by controller (v1), or the one folder for each controller there is (v2)."""

    version: int
    roots: Mapping[str, str]

    @property
    def controllers(self) -> frozenset[str]:
        return frozenset(self.roots)

    def record(self) -> dict[str, Any]:
        return {"version": self.version, "roots": dict(self.roots)}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Tree:
        return cls(int(record["version"]), dict(record["roots"]))

    def folders(self, path: str) -> list[str]:
        """Of a group, each once."""
        return list(dict.fromkeys(_join(root, path) for root in self.roots.values()))

    def exists(self, path: str) -> bool:
        return all(os.path.isdir(folder) for folder in self.folders(path))

    def create(self, path: str, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        """With the groups above it; safe to repeat."""
        parts = [part for part in path.split("/") if part]
        for end in range(len(parts) + 1):
            above = "/".join(parts[:end])
            for folder in self.folders(above):
                os.makedirs(folder, mode=0o755, exist_ok=True)
            if self.version == 2 and end < len(parts):
                self._delegate(above)
        self.limit(path, limits)

    def _delegate(self, path: str) -> None:
        """v2: controllers work in a group once the group above hands them down."""
        (folder,) = self.folders(path)
        wanted = set(self.roots)
        have = set(_read(folder, "cgroup.subtree_control").split())
        if missing := wanted - have:
            text = " ".join(f"+{name}" for name in sorted(missing))
            _write(os.path.join(folder, "cgroup.subtree_control"), text)

    def limit(self, path: str, limits: Limits) -> None:
        """What no controller is here for is left out."""
        settings = v1_settings(limits) if self.version == 1 else v2_settings(limits)
        for setting in settings:
            if setting.controller in self.roots:
                self._apply(path, setting)

    def _apply(self, path: str, setting: Setting) -> None:
        file = os.path.join(_join(self.roots[setting.controller], path), setting.file)
        try:
            _write(file, setting.text)
        except FileNotFoundError:
            if os.path.isdir(os.path.dirname(file)):
                return  # this kernel was built without it
            raise

    def members_files(self, path: str) -> list[str]:
        """A process that writes "0" to each of them is in the group from then on."""
        return [os.path.join(folder, "cgroup.procs") for folder in self.folders(path)]

    def kills_file(self, path: str) -> str:
        """The file whose line "oom_kill N" counts processes killed for lack of memory, or ""."""
        if "memory" not in self.roots:
            return ""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        return os.path.join(_join(self.roots["memory"], path), name)

    def processes(self, path: str) -> set[int]:
        """Of this group and those below it."""
        found: set[int] = set()
        for folder in self.folders(path):
            for base, _, _ in os.walk(folder):
                found |= {int(text) for text in _read(base, "cgroup.procs").split()}
        return found

    def usage(self, path: str) -> GroupUsage | None:
        """None once it is gone."""
        if not self.exists(path):
            return None
        return _usage_v1(self, path) if self.version == 1 else _usage_v2(self, path)

    def kill(self, path: str) -> int:
        """SIGKILL to all in it and below, until nobody is left; how many were seen."""
        seen: set[int] = set()
        for _ in range(_KILL_ROUNDS):
            now = self.processes(path)
            if not now:
                break
            for pid in now:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            seen |= now
            time.sleep(_ROUND_S)
        return len(seen)

    def remove(self, path: str) -> None:
        """With all below it. Raises OSError (EBUSY) if a process is in it."""
        for folder in self.folders(path):
            for base, _, _ in os.walk(folder, topdown=False):
                with contextlib.suppress(FileNotFoundError):
                    os.rmdir(base)

    def children(self, path: str) -> list[str]:
        """The names of the groups right below, of every hierarchy."""
        found: set[str] = set()
        for folder in self.folders(path):
            with contextlib.suppress(FileNotFoundError):
                found |= {entry.name for entry in os.scandir(folder) if entry.is_dir()}
        return sorted(found)


def _join(root: str, path: str) -> str:
    return os.path.join(root, path.strip("/")) if path.strip("/") else root


def _read(folder: str, name: str) -> str:
    """ "" where there is no such file."""
    try:
        with open(os.path.join(folder, name)) as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _pairs(text: str) -> dict[str, int]:
    return dict(_numbers(text))


def _numbers(text: str) -> Iterator[tuple[str, int]]:
    for line in text.splitlines():
        name, _, number = line.partition(" ")
        if number.strip().lstrip("-").isdigit():
            yield name, int(number)


def _usage_v1(tree: Tree, path: str) -> GroupUsage:
    def text(controller: str, name: str) -> str:
        root = tree.roots.get(controller)
        return "" if root is None else _read(_join(root, path), name)

    memory = int(text("memory", "memory.usage_in_bytes") or 0)
    stat = _pairs(text("memory", "memory.stat"))
    return GroupUsage(
        cpu_ns=int(text("cpuacct", "cpuacct.usage") or 0),
        memory_bytes=memory,
        working_set_bytes=max(0, memory - stat.get("total_inactive_file", 0)),
        rss_bytes=stat.get("total_rss", 0),
        page_faults=stat.get("total_pgfault", 0),
        major_page_faults=stat.get("total_pgmajfault", 0),
        processes=int(text("pids", "pids.current") or 0),
        throttled_ns=_pairs(text("cpu", "cpu.stat")).get("throttled_time", 0),
    )


def _usage_v2(tree: Tree, path: str) -> GroupUsage:
    (folder,) = tree.folders(path)
    memory = int(_read(folder, "memory.current") or 0)
    stat, cpu = _pairs(_read(folder, "memory.stat")), _pairs(_read(folder, "cpu.stat"))
    return GroupUsage(
        cpu_ns=cpu.get("usage_usec", 0) * 1000,
        memory_bytes=memory,
        working_set_bytes=max(0, memory - stat.get("inactive_file", 0)),
        rss_bytes=stat.get("anon", 0),
        page_faults=stat.get("pgfault", 0),
        major_page_faults=stat.get("pgmajfault", 0),
        processes=int(_read(folder, "pids.current") or 0),
        throttled_ns=cpu.get("throttled_usec", 0) * 1000,
    )
