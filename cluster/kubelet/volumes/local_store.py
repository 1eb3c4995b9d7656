"""The volumes of the embedded provisioner on this node's disk. Blocking: call it in a thread.

`DATA/local-volumes/HANDLE/` has `data` (a folder), or `image` (a file system of the volume's
size, or a block device's content) and the mount point or link by which pods get at it.
"""

from __future__ import annotations

import os

from cluster.kubelet.environment import ConfigError
from cluster.kubelet.runtimes import records
from cluster.kubelet.volumes import mounting
from cluster.machinery import local_volumes

_LEAST_BYTES = 4 << 20
"""Of a file system: smaller ones have no room for their journal."""


class LocalStore:
    def __init__(self, data_dir: str) -> None:
        self._root = os.path.join(data_dir, "local-volumes")

    def held(self) -> set[str]:
        return set(os.listdir(self._root)) if os.path.isdir(self._root) else set()

    def path(self, handle: str, *parts: str) -> str:
        if not local_volumes.is_handle(handle):
            raise ConfigError(f"volume handle {handle!r} is not one of {local_volumes.DRIVER}")
        return os.path.join(self._root, handle, *parts)

    def mount_point(self, handle: str, *, block: bool) -> str:
        """What stands there is a link to a block device, or a folder, or a link to one."""
        return self.path(handle, "device" if block else "mount")

    def make(self, handle: str, size_bytes: int, *, block: bool, limited: bool) -> None:
        """Bring it about that the volume stands at its mount point."""
        os.makedirs(self.path(handle), mode=0o755, exist_ok=True)
        image, data = self.path(handle, "image"), self.path(handle, "data")
        if block:
            self._make_device(handle, image, size_bytes)
            return
        if limited and not os.path.exists(data) and not os.path.exists(image):
            mounting.make_image(image, max(size_bytes, _LEAST_BYTES), formatted=True)
        if os.path.exists(image):
            if not mounting.is_mounted(self.mount_point(handle, block=False)):
                mounting.grow_image(image, size_bytes)
            self._mount(image, self.mount_point(handle, block=False))
        else:
            self._make_folder(data, self.mount_point(handle, block=False))

    def _make_device(self, handle: str, image: str, size_bytes: int) -> None:
        if not mounting.can_loop():
            raise ConfigError("block volumes need a node run by root that has loop devices")
        if not os.path.exists(image):
            mounting.make_image(image, size_bytes, formatted=False)
        link = self.mount_point(handle, block=True)
        device = mounting.attach_loop(image)
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink(device, link)

    def _mount(self, image: str, target: str) -> None:
        os.makedirs(target, exist_ok=True)
        if mounting.is_mounted(target):
            return
        mounting.mount_image(image, target)
        lost = os.path.join(target, "lost+found")
        if os.path.isdir(lost) and not os.listdir(lost):
            os.rmdir(lost)  # a volume starts out empty, and has nothing but what users put there
            if not os.listdir(target):
                os.chmod(target, 0o777)

    def _make_folder(self, data: str, link: str) -> None:
        if not os.path.isdir(data):
            os.makedirs(data)
            os.chmod(data, 0o777)
        if not os.path.lexists(link):
            os.symlink("data", link)

    def leave(self, handle: str) -> None:
        """No pod uses it any more: nothing is mounted, and no device shows it."""
        mounting.unmount(self.path(handle, "mount"))
        image = self.path(handle, "image")
        if os.path.lexists(self.path(handle, "device")):
            mounting.detach_loops(image)
            os.unlink(self.path(handle, "device"))

    def grow(self, handle: str, size_bytes: int, *, block: bool) -> int | None:
        """Its size afterwards; None for a folder."""
        image = self.path(handle, "image")
        if not os.path.exists(image):
            return None
        grow = mounting.grow_device if block else mounting.grow_image
        grow(image, size_bytes)
        return os.path.getsize(image)

    def remove(self, handle: str) -> None:
        """With all that is in it."""
        self.leave(handle)
        if left := mounting.below(self.path(handle)):
            raise OSError(f"{left[0]} is still mounted")
        records.remove_tree(self.path(handle))


def detach_all(data_dir: str) -> None:
    """For the end of a node: block devices that show its files."""
    store = LocalStore(data_dir)
    for handle in store.held():
        if os.path.lexists(store.path(handle, "device")):
            mounting.detach_loops(store.path(handle, "image"))
