"""Images as folders: unpacked once, shared by all containers, kept while somebody uses them.

`STORE/roots/HEX/fs` is the root folder, HEX the image's id. Users of it hold a shared lock on
`STORE/roots/HEX/lock`: kubelets for the pods they have, and the process beside each container. The
kernel gives the lock back when a process ends, so nothing can be leaked. Who removes the folder
takes the lock alone. Blocking.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator

from cluster.kubelet.images.layers import Bounds, Unpacked, unpack
from cluster.kubelet.images.store import ImageStore, StoredImage
from cluster.kubelet.runtimes import records

_ABANDONED_S = 3600.0


class InUse(Exception):
    """Somebody runs on the image."""


class Roots:
    def __init__(self, store: ImageStore, bounds: Bounds | None = None) -> None:
        self._store, self._bounds = store, bounds or Bounds()
        self._folder = os.path.join(store.folder, "roots")

    def path(self, image_id: str) -> str:
        return os.path.join(self._folder, image_id.removeprefix("sha256:"))

    def root(self, image_id: str) -> str:
        return os.path.join(self.path(image_id), "fs")

    def is_unpacked(self, image_id: str) -> bool:
        return os.path.isdir(self.root(image_id))

    def use(self, image: StoredImage) -> int:
        """Unpack it if need be and lock it for this process: a descriptor to close some day.

        Raises BadImage.
        """
        while True:
            lock = self._lock(image.image_id)
            fcntl.flock(lock, fcntl.LOCK_SH)
            if self.is_unpacked(image.image_id) and self._is_current(image.image_id, lock):
                os.utime(self.path(image.image_id))
                return lock
            os.close(lock)
            self._unpack(image)

    def _lock(self, image_id: str) -> int:
        os.makedirs(self.path(image_id), mode=0o700, exist_ok=True)
        path = os.path.join(self.path(image_id), "lock")
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _is_current(self, image_id: str, lock: int) -> bool:
        """Whether the locked file is still the one of that name: it may have been removed."""
        try:
            return os.path.samestat(os.fstat(lock), os.stat(self.path(image_id) + "/lock"))
        except FileNotFoundError:
            return False

    def _unpack(self, image: StoredImage) -> None:
        """Beside its place first: what is in its place is complete."""
        with self._only_one(image.image_id):
            if self.is_unpacked(image.image_id):
                return
            new = os.path.join(self._folder, f"new-{uuid.uuid4().hex}")
            os.makedirs(new, mode=0o700)
            os.chmod(new, 0o755)
            try:
                so_far = Unpacked()
                for layer, diff_id in zip(image.layers, image.config.diff_ids, strict=True):
                    with open(self._store.path(layer.digest), "rb") as file:
                        unpack(file, new, self._bounds, so_far, diff_id)
                os.makedirs(self.path(image.image_id), mode=0o700, exist_ok=True)
                os.rename(new, self.root(image.image_id))
            finally:
                records.remove_tree(new)

    @contextlib.contextmanager
    def _only_one(self, image_id: str) -> Iterator[None]:
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        name = f".{image_id.removeprefix('sha256:')}.unpacking"
        with open(os.path.join(self._folder, name), "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def is_used(self, image_id: str) -> bool:
        if not self.is_unpacked(image_id):
            return False
        lock = self._lock(image_id)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def remove(self, image_id: str) -> None:
        """Raises InUse. The folder is set aside in one step, then removed."""
        if not os.path.isdir(self.path(image_id)):
            return
        lock = self._lock(image_id)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            gone = os.path.join(self._folder, f"gone-{uuid.uuid4().hex}")
            os.rename(self.path(image_id), gone)
        except BlockingIOError:
            raise InUse(f"image {image_id} is in use") from None
        finally:
            os.close(lock)
        records.remove_tree(gone)

    def sweep(self) -> None:
        """What no image of the store belongs to any more, and what broke off."""
        known = {image.image_id.removeprefix("sha256:") for image in self._store.images()}
        for entry in list(os.scandir(self._folder)) if os.path.isdir(self._folder) else ():
            if entry.name.startswith((".", "new-", "gone-")):
                if time.time() - entry.stat().st_mtime > _ABANDONED_S:
                    shutil.rmtree(entry.path) if entry.is_dir() else os.unlink(entry.path)
            elif entry.name not in known:
                with contextlib.suppress(InUse):
                    self.remove(f"sha256:{entry.name}")
