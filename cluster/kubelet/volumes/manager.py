"""The volumes of pods on this node's disk: set up, brought up to date, mounted, removed."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Any

from cluster.kubelet.environment import ConfigError, expand
from cluster.kubelet.runtimes.base import Mount
from cluster.kubelet.volumes import atomic_writer, payload

Object = dict[str, Any]


class VolumeManager:
    """`DATA/pods/UID/volumes/KIND/NAME`. Raises ConfigError for what cannot be set up."""

    def __init__(self, data_dir: str, allocatable: Mapping[str, str]) -> None:
        self._data_dir = data_dir
        self._allocatable = allocatable

    def set_up(self, pod: Object, objects: payload.Objects) -> None:
        """Make every volume of the pod hold what it should; safe to repeat, for updates."""
        for volume in pod["spec"].get("volumes") or ():
            kind, path = payload.kind_of(volume), self.path(pod, volume)
            if kind == "hostPath":
                _check_host_path(path, volume["hostPath"].get("type") or "")
                continue
            if kind != "emptyDir" and kind not in payload.WRITTEN:
                raise ConfigError(f"volume {volume['name']}: {kind or 'its source'} not supported")
            os.makedirs(path, exist_ok=True)
            self._share(pod, path, kind)
            if kind in payload.WRITTEN:
                files = payload.files(pod, volume, objects, self._allocatable)
                atomic_writer.write(path, files)

    def _share(self, pod: Object, path: str, kind: str) -> None:
        """An emptyDir is for everybody; fsGroup owns it where we may say so."""
        os.chmod(path, 0o777 if kind == "emptyDir" else 0o755)
        group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
        if group is not None and kind == "emptyDir" and os.geteuid() == 0:
            os.chown(path, -1, group)
            os.chmod(path, 0o2777)

    def path(self, pod: Object, volume: Object) -> str:
        kind = payload.kind_of(volume)
        if kind == "hostPath":
            return str(volume["hostPath"]["path"])
        uid = pod["metadata"]["uid"]
        return os.path.join(self._data_dir, "pods", uid, "volumes", kind, volume["name"])

    def mounts(self, pod: Object, container: Object, env: Mapping[str, str]) -> list[Mount]:
        """Sorted so that a mount inside another comes after it."""
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
        found = []
        for mount in container.get("volumeMounts") or ():
            if mount["name"] not in volumes:
                raise ConfigError(f"volume {mount['name']!r} of a volumeMount is not in the pod")
            volume = volumes[mount["name"]]
            source = _with_sub_path(self.path(pod, volume), mount, env)
            always = payload.kind_of(volume) in payload.WRITTEN
            target = os.path.join("/", mount["mountPath"])
            found.append(Mount(source, target, bool(mount.get("readOnly")) or always))
        return sorted(found, key=lambda mount: mount.target)


def _with_sub_path(root: str, mount: Object, env: Mapping[str, str]) -> str:
    text = mount.get("subPath") or expand(mount.get("subPathExpr") or "", env)
    root = os.path.realpath(root)
    if not text:
        return root
    path = os.path.realpath(os.path.join(root, text))
    if not path.startswith(root + "/"):
        raise ConfigError(f"subPath {text!r} leads out of volume {mount['name']!r}")
    if not os.path.exists(path):
        os.makedirs(path, mode=0o755)
    return path


def _check_host_path(path: str, kind: str) -> None:
    """hostPath types: what must be there, or is made."""
    if kind == "DirectoryOrCreate":
        os.makedirs(path, mode=0o755, exist_ok=True)
    if kind == "FileOrCreate" and not os.path.exists(path):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))
    if not os.path.exists(path):
        raise ConfigError(f"hostPath {path} does not exist")
    mode = os.stat(path).st_mode
    if kind.startswith("Directory") and not stat.S_ISDIR(mode):
        raise ConfigError(f"hostPath type check failed: {path} is not a directory")
    if kind.startswith("File") and not stat.S_ISREG(mode):
        raise ConfigError(f"hostPath type check failed: {path} is not a file")
