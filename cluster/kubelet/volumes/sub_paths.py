"""subPath: a part of a volume, which whoever writes to the volume must not make lead out of it.

Links inside the volume are followed once; what they lead to is then opened part by part without
following any, so that a link that is put there in between is an error and no way out. The open
folder itself is bind-mounted (with root), so that containers get what was checked.
"""

from __future__ import annotations

import os
import stat

from cluster.kubelet.environment import ConfigError
from cluster.kubelet.volumes import mounting

_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def resolve(root: str, text: str, name: str) -> str:
    """The path in the volume that `text` means. Raises ConfigError if it leads out."""
    root = os.path.realpath(root)
    if os.path.isabs(text) or ".." in text.split("/"):
        raise ConfigError(f"subPath {text!r} of volume {name!r} must not be absolute or have '..'")
    path = os.path.realpath(os.path.join(root, text))
    if path != root and not path.startswith(root.rstrip("/") + "/"):
        raise ConfigError(f"subPath {text!r} leads out of volume {name!r}")
    return path


def open_inside(root: str, path: str, *, make: bool = True) -> int:
    """A descriptor (O_PATH) of `path`, which `resolve` gave; folders that are missing are made.

    Raises ConfigError if a part of it is a link now.
    """
    root = os.path.realpath(root)
    descriptor = os.open(root, _STEP | os.O_DIRECTORY)
    try:
        for part in os.path.relpath(path, root).split("/"):
            if part == ".":
                continue
            inner = _step(descriptor, part, make)
            os.close(descriptor)
            descriptor = inner
        return descriptor
    except BaseException:
        os.close(descriptor)
        raise


def _step(folder: int, part: str, make: bool) -> int:
    try:
        return _opened(folder, part)
    except FileNotFoundError:
        if not make:
            raise
        os.mkdir(part, 0o750, dir_fd=folder)
        os.chmod(part, 0o755, dir_fd=folder)
        return _opened(folder, part)


def _opened(folder: int, part: str) -> int:
    descriptor = os.open(part, _STEP, dir_fd=folder)
    if _is_link(descriptor):
        os.close(descriptor)
        raise ConfigError(f"{part!r} became a link while the volume was being mounted")
    return descriptor


def _is_link(descriptor: int) -> bool:
    return stat.S_ISLNK(os.fstat(descriptor).st_mode)


def bind(descriptor: int, target: str) -> None:
    """Mount what the descriptor stands for at `target`, which is made; once."""
    if mounting.is_mounted(target):
        return
    source = f"/proc/self/fd/{descriptor}"
    os.makedirs(os.path.dirname(target), mode=0o750, exist_ok=True)
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT, 0o600))
    mounting.bind(source, target)
