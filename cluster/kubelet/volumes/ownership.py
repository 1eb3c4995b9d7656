"""fsGroup: the files of a volume belong to the pod's group, which may read and write them.

As upstream's SetVolumeOwnership. Links are never followed: what they point at is not the volume's.
"""

from __future__ import annotations

import os
import stat
from typing import Any

Object = dict[str, Any]

_FOLDER_BITS = stat.S_ISGID | 0o770
_FILE_BITS = 0o660
_READ_ONLY_FOLDER_BITS, _READ_ONLY_FILE_BITS = stat.S_ISGID | 0o550, 0o440


def group_of(pod: Object) -> tuple[int | None, str]:
    """(fsGroup, fsGroupChangePolicy)"""
    context = pod["spec"].get("securityContext") or {}
    return context.get("fsGroup"), context.get("fsGroupChangePolicy") or "Always"


def give(root: str, group: int, policy: str, *, read_only: bool = False) -> None:
    """`policy` OnRootMismatch leaves everything where the root is as it should be.

    The root is done last, so that it says that all of it is done.
    """
    if policy == "OnRootMismatch" and not _differs(root, group, read_only):
        return
    for place, folders, files, descriptor in os.fwalk(root, topdown=False):
        for name in files:
            _give(name, group, descriptor, read_only)
        for name in folders:
            if os.path.islink(os.path.join(place, name)):
                _give(name, group, descriptor, read_only)
        _own(descriptor, os.fstat(descriptor), group, read_only)


def _differs(root: str, group: int, read_only: bool) -> bool:
    found = os.stat(root)
    bits = _bits(found.st_mode, read_only)
    return found.st_gid != group or found.st_mode & bits != bits


def _bits(mode: int, read_only: bool) -> int:
    if stat.S_ISDIR(mode):
        return _READ_ONLY_FOLDER_BITS if read_only else _FOLDER_BITS
    return _READ_ONLY_FILE_BITS if read_only else _FILE_BITS


def _give(name: str, group: int, folder: int, read_only: bool) -> None:
    """An entry of a folder that is open, so that nobody can put something else in its place."""
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode):
        os.chown(name, -1, group, dir_fd=folder, follow_symlinks=False)
        return
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        _own(descriptor, os.fstat(descriptor), group, read_only)
    finally:
        os.close(descriptor)


def _own(descriptor: int, found: os.stat_result, group: int, read_only: bool) -> None:
    """The mode after the owner: a change of owner takes the setgid bit of files away."""
    if found.st_gid != group:
        os.fchown(descriptor, -1, group)
    mode = stat.S_IMODE(found.st_mode)
    wanted = mode | _bits(found.st_mode, read_only)
    if wanted != mode:
        os.fchmod(descriptor, wanted)
