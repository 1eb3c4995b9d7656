"""What the process of a container is by its image and what the pod says over it. Pure."""

from __future__ import annotations

import os
from typing import Any

from cluster.kubelet.images.local import Prepared
from cluster.kubelet.runtimes.base import ContainerSpec, RuntimeFailure

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def of(spec: ContainerSpec, image: Prepared | None) -> dict[str, Any]:
    """The part of a container's record that an image decides; None: it has the host's files.

    Raises RuntimeFailure.
    """
    _refuse_root(spec, image.config.user.partition(":")[0] if image is not None else "")
    if image is None:
        return _on_host(spec)
    config = image.config
    words = list(spec.command) or list(config.entrypoint)
    words += spec.args if spec.command or spec.args else config.command
    if not words:
        raise RuntimeFailure("CreateContainerError", "no command specified")
    own = dict(each.partition("=")[::2] for each in config.env)
    return {
        "root": image.root,
        "image_lock": image.lock_path,
        "image_id": image.reference,
        "command": words,
        "env": {"PATH": _PATH, "HOSTNAME": spec.hostname} | own | dict(spec.env),
        "cwd": spec.working_dir or config.working_dir,
        "user": config.user,
    }


def _on_host(spec: ContainerSpec) -> dict[str, Any]:
    if not spec.command:
        raise RuntimeFailure(
            "CreateContainerError",
            "the image is not unpacked (containers run on the host's root file system), so "
            "its entry point is unknown: give the container a `command`",
        )
    base = {"PATH": os.environ.get("PATH", os.defpath), "HOSTNAME": spec.hostname}
    return {
        "command": [*spec.command, *spec.args],
        "env": base | {"HOME": "/root"} | dict(spec.env),
        "cwd": spec.working_dir,
    }


def _refuse_root(spec: ContainerSpec, user: str) -> None:
    """runAsNonRoot with nobody but the image to say who: in upstream's words."""
    if not spec.must_not_be_root or spec.uid is not None:
        return
    if user and not user.isdecimal():
        cause = f"image has non-numeric user ({user}), cannot verify user is non-root"
    elif not user or int(user) == 0:
        cause = "image will run as root"
    else:
        return
    text = f"container has runAsNonRoot and {cause} (container: {spec.name})"
    raise RuntimeFailure("CreateContainerConfigError", text)
