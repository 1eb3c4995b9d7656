"""Replaces all files of a volume in one step, as upstream's AtomicWriter.

The files are in a folder named by `..data`, a link that is swapped by rename; the names that
users see are links through it. A reader sees all of the old or all of the new.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass

_DATA = "..data"


@dataclass(frozen=True)
class File:
    data: bytes
    mode: int = 0o644


def write(folder: str, files: Mapping[str, File]) -> bool:
    """Make the volume hold exactly `files` (relative path -> file). False if it did already."""
    for path in files:
        parts = path.split("/")
        if path.startswith(("/", "..")) or ".." in parts or not all(parts):
            raise ValueError(f"invalid path in a volume: {path!r}")
    if read(folder) == dict(files):
        return False
    old = _current(folder)
    new = tempfile.mkdtemp(prefix="..", dir=folder)
    os.chmod(new, 0o755)
    for path, file in files.items():
        _write_file(os.path.join(new, path), file)
    link = os.path.join(folder, "..data_tmp")
    if os.path.lexists(link):
        os.unlink(link)
    os.symlink(os.path.basename(new), link)
    os.replace(link, os.path.join(folder, _DATA))
    _link_names(folder, {path.partition("/")[0] for path in files})
    if old is not None:
        shutil.rmtree(old)
    return True


def read(folder: str) -> dict[str, File] | None:
    """What the volume holds; None before the first write."""
    base = _current(folder)
    if base is None:
        return None
    found = {}
    for place, _, names in os.walk(base):
        for name in names:
            path = os.path.join(place, name)
            with open(path, "rb") as file:
                mode = os.fstat(file.fileno()).st_mode & 0o777
                found[os.path.relpath(path, base)] = File(file.read(), mode)
    return found


def _current(folder: str) -> str | None:
    try:
        return os.path.join(folder, os.readlink(os.path.join(folder, _DATA)))
    except FileNotFoundError:
        return None


def _write_file(path: str, file: File) -> None:
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with open(path, "wb") as out:
        out.write(file.data)
    os.chmod(path, file.mode)


def _link_names(folder: str, wanted: set[str]) -> None:
    for name in wanted:
        link = os.path.join(folder, name)
        if not os.path.lexists(link):
            os.symlink(os.path.join(_DATA, name), link)
    for name in os.listdir(folder):
        if not name.startswith("..") and name not in wanted:
            os.unlink(os.path.join(folder, name))
