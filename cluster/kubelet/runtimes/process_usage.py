"""What containers use: their control groups know; elsewhere /proc, the shim's tree being it.

The shim itself is left out, but what ended children of it have used is counted: it reaps them.
A process that entered from outside (exec) is a child of somebody else and is not counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from cluster.kubelet.cgroups.tree import Tree
from cluster.kubelet.runtimes import records
from cluster.kubelet.runtimes.base import Usage

_TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PROCESSES_MAX = 4096
"""Of one container; what is beyond is not looked at."""


@dataclass(frozen=True)
class _Process:
    """Of one entry of /proc. Ticks of reaped children are in `reaped_ticks`."""

    own_ticks: int
    reaped_ticks: int
    page_faults: int
    major_page_faults: int
    resident_pages: int
    shared_pages: int


def of_groups(
    tree: Tree | None, paths: Mapping[str, str], container_ids: Iterable[str]
) -> dict[str, Usage]:
    """Of the containers that have a control group: exact, with what has entered them."""
    found = {}
    for container_id in container_ids:
        path = paths.get(container_id, "")
        usage = tree.usage(path) if tree is not None and path else None
        if usage is not None:
            found[container_id] = Usage(
                cpu_ns=usage.cpu_ns,
                working_set_bytes=usage.working_set_bytes,
                rss_bytes=usage.rss_bytes,
                page_faults=usage.page_faults,
                major_page_faults=usage.major_page_faults,
                processes=usage.processes,
            )
    return found


def of_folders(folders: Mapping[str, str]) -> dict[str, Usage]:
    """By container id; without those that have ended meanwhile. `folders`: see `records`."""
    found = {}
    for container_id, folder in folders.items():
        shim = records.process_of(folder)
        if shim is not None and shim.is_alive():
            found[container_id] = of_tree(shim.pid)
    return found


def of_tree(shim: int) -> Usage:
    """All below this process. Pages that processes share count once, as far as /proc tells."""
    parts = [part for pid in _below(shim) if (part := _read(pid)) is not None]
    top = _read(shim)
    ticks = sum(p.own_ticks + p.reaped_ticks for p in parts) + (top.reaped_ticks if top else 0)
    own_pages = sum(p.resident_pages - p.shared_pages for p in parts)
    shared_pages = max((p.shared_pages for p in parts), default=0)
    return Usage(
        cpu_ns=ticks * _TICK_NS,
        working_set_bytes=(own_pages + shared_pages) * _PAGE_BYTES,
        rss_bytes=own_pages * _PAGE_BYTES,
        page_faults=sum(p.page_faults for p in parts),
        major_page_faults=sum(p.major_page_faults for p in parts),
        processes=len(parts),
    )


def _below(root: int) -> list[int]:
    found: list[int] = []
    waiting = [root]
    while waiting and len(found) < _PROCESSES_MAX:
        children = list(_children(waiting.pop()))
        found += children
        waiting += children
    return found


def _children(pid: int) -> Iterator[int]:
    """Of all its threads."""
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                yield from map(int, file.read().split())
    except OSError:  # it has ended meanwhile
        return


def _read(pid: int) -> _Process | None:
    """None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read().rpartition(b")")[2].split()
        with open(f"/proc/{pid}/statm", "rb") as file:
            statm = file.read().split()
    except OSError:
        return None
    return _Process(
        own_ticks=int(stat[11]) + int(stat[12]),
        reaped_ticks=int(stat[13]) + int(stat[14]),
        page_faults=int(stat[7]) + int(stat[8]),
        major_page_faults=int(stat[9]) + int(stat[10]),
        resident_pages=int(statm[1]),
        shared_pages=int(statm[2]),
    )
