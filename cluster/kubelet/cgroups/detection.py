"""Which control groups a node may have here: found by making some, not by guessing.

The node's groups are below the group that this process is in, or the nearest one above it that
can be used: with v2, a group with processes of its own cannot hand controllers down.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterator

from cluster.kubelet.cgroups.tree import CONTROLLERS, Tree
from cluster.kubelet.runtimes.helpers.shim import write_json

log = logging.getLogger(__name__)

RECORD = "cgroups.json"


def open_tree(data_dir: str) -> Tree | None:
    """The groups of the node with this folder: those of its last kubelet, or new ones; or None.

    A group is the same for all kubelets of a node, wherever they were started: see RECORD.
    """
    known = recorded(data_dir)
    if known is not None and known.exists(""):
        return known
    name = "raykube-" + hashlib.sha256(os.path.abspath(data_dir).encode()).hexdigest()[:12]
    tree = detect(name)
    if tree is not None:
        write_json(os.path.join(data_dir, RECORD), tree.record())
    return tree


def recorded(data_dir: str) -> Tree | None:
    try:
        with open(os.path.join(data_dir, RECORD)) as file:
            return Tree.of_record(json.load(file))
    except (FileNotFoundError, ValueError, KeyError):
        return None


def detect(
    name: str, mounts: str = "/proc/self/mountinfo", own: str = "/proc/self/cgroup"
) -> Tree | None:
    """The best tree called `name` that works here; it exists then."""
    with open(mounts) as file:
        mounted = list(_cgroup_mounts(file.read()))
    with open(own) as file:
        paths = dict(_own_paths(file.read()))
    return _detect_v1(name, mounted, paths) or _detect_v2(name, mounted, paths)


Mounted = tuple[str, str, str, frozenset[str]]
"""Mount point, the hierarchy's folder that is mounted there, file system type, its options."""


def _cgroup_mounts(text: str) -> Iterator[Mounted]:
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            fields = before.split()
            yield fields[4], fields[3], kind, frozenset(options.split(","))


def _own_paths(text: str) -> Iterator[tuple[str, str]]:
    """This process's group by controller; "" is v2's."""
    for line in text.splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            yield name, path


def _candidates(mount: str, shown: str, own: str) -> Iterator[str]:
    """The folder of the own group, then each one above it up to the mount's own."""
    inside = own.removeprefix(shown.rstrip("/")).strip("/")
    parts = inside.split("/") if inside else []
    for end in range(len(parts), -1, -1):
        folder = os.path.join(mount, *parts[:end])
        if os.path.isdir(folder):
            yield folder


def _detect_v1(name: str, mounted: list[Mounted], paths: dict[str, str]) -> Tree | None:
    """Without memory and pids it is not worth while: then v2 may have them."""
    roots = {}
    for controller in CONTROLLERS:
        for mount, shown, kind, options in mounted:
            if kind != "cgroup" or controller not in options:
                continue
            for folder in _candidates(mount, shown, paths.get(controller, "/")):
                root = os.path.join(folder, name)
                if _usable_v1(root):
                    roots[controller] = root
                    break
    if {"memory", "pids"} <= roots.keys():
        return Tree(1, roots)
    for root in roots.values():
        with contextlib.suppress(OSError):
            os.rmdir(root)
    return None


def _usable_v1(root: str) -> bool:
    try:
        os.makedirs(root, mode=0o755, exist_ok=True)
    except OSError as error:
        log.debug("no control groups at %s: %s", root, error)
        return False
    return True


def _detect_v2(name: str, mounted: list[Mounted], paths: dict[str, str]) -> Tree | None:
    for mount, shown, kind, _ in mounted:
        if kind != "cgroup2":
            continue
        for folder in _candidates(mount, shown, paths.get("", "/")):
            tree = _usable_v2(folder, name)
            if tree is not None:
                return tree
    return None


def _usable_v2(folder: str, name: str) -> Tree | None:
    with open(os.path.join(folder, "cgroup.controllers")) as file:
        here = set(file.read().split()) & set(CONTROLLERS)
    if not {"memory", "pids"} <= here:
        return None
    root = os.path.join(folder, name)
    try:
        Tree(2, dict.fromkeys(sorted(here), folder)).create(name)
    except OSError as error:
        log.debug("no control groups at %s: %s", root, error)
        with contextlib.suppress(OSError):
            os.rmdir(root)
        return None
    return Tree(2, dict.fromkeys(sorted(here), root))
