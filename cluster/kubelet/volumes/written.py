"""Volumes whose files the kubelet writes: configMap, secret, downwardAPI, projected."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cluster.kubelet.volumes import atomic_writer, ownership, payload

Object = dict[str, Any]


def bring_up_to_date(
    pod: Object,
    volume: Object,
    folder: str,
    objects: payload.Objects,
    allocatable: Mapping[str, str],
) -> None:
    """Raises ConfigError, naming what is missing. fsGroup may read all of it."""
    os.makedirs(folder, exist_ok=True)
    os.chmod(folder, 0o755)
    files = payload.files(pod, volume, objects, allocatable)
    group, _ = ownership.group_of(pod)
    if group is None or os.geteuid() != 0:
        atomic_writer.write(folder, files)
        return
    files = {path: replace(file, mode=file.mode | 0o440) for path, file in files.items()}
    if atomic_writer.write(folder, files):
        ownership.give(folder, group, "Always", read_only=True)
