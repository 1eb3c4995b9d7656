"""The volumes of pods on this node: set up, brought up to date, mounted, taken down."""

from __future__ import annotations

import asyncio
import os
import stat
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from cluster.client import Client
from cluster.kubelet.environment import ConfigError, expand
from cluster.kubelet.runtimes.base import Mount
from cluster.kubelet.stats.snapshot import VolumeUsage
from cluster.kubelet.volumes import claims, growth, mounting, ownership, payload, sub_paths, written
from cluster.kubelet.volumes.placements import Placements
from cluster.kubelet.volumes.plugin import NotReady, Object, Placed, Plugin, Wanted
from cluster.kubelet.volumes.usage import measure
from cluster.machinery import meta


class VolumeManager:
    """`DATA/pods/UID/volumes/KIND/NAME`. Raises ConfigError for what cannot be set up, NotReady
    for what is not there yet."""

    def __init__(
        self,
        data_dir: str,
        allocatable: Mapping[str, str],
        plugins: Sequence[Plugin] = (),
        client: Client | None = None,
        node: Callable[[], Object] = lambda: {"metadata": {"name": ""}},
    ) -> None:
        """`node`: its Node as it is now, at least with name and labels; `client`: for claims."""
        self._told: list[str] = []
        self._data_dir = data_dir
        self._client, self._node = client, node
        self._allocatable = allocatable
        self._plugins = {plugin.name: plugin for plugin in plugins}
        self._placements = Placements(data_dir)
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._verified: set[tuple[str, str]] = set()

    async def set_up(self, pod: Object, objects: payload.Objects) -> None:
        """Make every volume of the pod hold what it should; safe to repeat, for updates."""
        for volume in pod["spec"].get("volumes") or ():
            kind = payload.kind_of(volume)
            if kind in payload.WRITTEN:
                folder = self._folder(pod, volume)
                written.bring_up_to_date(pod, volume, folder, objects, self._allocatable)
                continue
            key = pod["metadata"]["uid"], volume["name"]
            if key not in self._verified:
                await self._place(await self._wanted(pod, volume, objects))
                self._verified.add(key)

    def look_again(self, uid: str) -> bool:
        """Whether the pod has claims; their volumes are then compared with the API once more."""
        found = [p for p in self._placements.of_pod(uid) if not p.identity.startswith(f"{uid}/")]
        self._verified -= {(uid, placed.name) for placed in found}
        return bool(found)

    async def _wanted(self, pod: Object, volume: Object, objects: payload.Objects) -> Wanted:
        folder = self._folder(pod, volume)
        if not claims.claim_name(pod, volume):
            read_only = bool((volume.get("csi") or {}).get("readOnly"))
            return Wanted(pod, volume["name"], volume, folder, objects, read_only=read_only)
        if self._client is None:
            raise ConfigError("claims need an API")
        claim, found = await claims.find(self._client, pod, volume)
        claims.check_node(found, self._node())
        own = volume.get("persistentVolumeClaim") or {}
        read_only = bool(own.get("readOnly")) or bool(
            (found["spec"].get("csi") or {}).get("readOnly")
        )
        name, source = volume["name"], found["spec"]
        return Wanted(pod, name, source, folder, objects, found, claim, read_only)

    def _plugin(self, wanted: Wanted) -> Plugin:
        for plugin in self._plugins.values():
            if plugin.supports(wanted):
                return plugin
        kind = payload.kind_of(wanted.source) or "its source"
        if wanted.volume is not None:
            kind = f"the source of persistentvolume {wanted.identity}"
        raise ConfigError(f"volume {wanted.name}: {kind} not supported")

    async def _place(self, wanted: Wanted) -> None:
        plugin = self._plugin(wanted)
        placed = replace(plugin.plan(wanted), claim=meta.key(wanted.claim) if wanted.claim else "")
        async with self._locks[placed.identity]:
            self._check_single(wanted, placed)
            ready = self._placements.is_ready(placed)
            if not ready:
                self._placements.put(placed, ready=False)
            if placed.in_use:
                await self._report(self.in_use())
            await plugin.set_up(wanted, placed)
            if not ready:
                if plugin.owns(wanted) and not placed.read_only and not wanted.block:
                    await self._own(wanted.pod, placed.path)
                self._placements.put(placed, ready=True)
            if self._client is not None and wanted.claim is not None:
                await growth.follow(self._client, plugin, wanted, placed)

    def _check_single(self, wanted: Wanted, placed: Placed) -> None:
        modes = (wanted.claim or {"spec": {}})["spec"].get("accessModes") or ()
        others = self._placements.users(placed.identity, placed.plugin) - {placed.pod_uid}
        if claims.SINGLE_POD in modes and others:
            raise NotReady(
                f"volume uses the ReadWriteOncePod access mode and is in use by another pod"
                f" of this node ({', '.join(sorted(others))})"
            )

    async def _own(self, pod: Object, path: str) -> None:
        group, policy = ownership.group_of(pod)
        if group is not None and os.geteuid() == 0:
            await asyncio.to_thread(ownership.give, os.path.realpath(path), group, policy)

    def _folder(self, pod: Object, volume: Object) -> str:
        uid, kind = pod["metadata"]["uid"], payload.kind_of(volume)
        return os.path.join(self._data_dir, "pods", uid, "volumes", kind, volume["name"])

    def mounts(self, pod: Object, container: Object, env: Mapping[str, str]) -> list[Mount]:
        """Sorted so that a mount inside another comes after it."""
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
        found = [
            self._mount(pod, container, volumes, index, mount, env)
            for index, mount in enumerate(container.get("volumeMounts") or ())
        ]
        for device in container.get("volumeDevices") or ():
            placed = self._standing(pod, device["name"])
            source = os.path.realpath(placed.path)
            target = device["devicePath"]
            found.append(Mount(source, target, placed.read_only, is_device=True))
        return sorted(found, key=lambda mount: mount.target)

    def _mount(
        self,
        pod: Object,
        container: Object,
        volumes: Mapping[str, Object],
        index: int,
        mount: Object,
        env: Mapping[str, str],
    ) -> Mount:
        name = mount["name"]
        if name not in volumes:
            raise ConfigError(f"volume {name!r} of a volumeMount is not in the pod")
        target = os.path.join("/", mount["mountPath"])
        read_only = bool(mount.get("readOnly"))
        if payload.kind_of(volumes[name]) in payload.WRITTEN:
            root, read_only = self._folder(pod, volumes[name]), True
        else:
            placed = self._standing(pod, name)
            root, read_only = placed.path, read_only or placed.read_only
        text = mount.get("subPath") or expand(mount.get("subPathExpr") or "", env)
        if not text:
            spread = mount.get("mountPropagation") or "None"
            return Mount(os.path.realpath(root), target, read_only, spread)
        place = os.path.join(self._sub_paths(pod["metadata"]["uid"]), container["name"])
        source = _part(root, text, name, os.path.join(place, str(index)))
        return Mount(source, target, read_only)

    def _standing(self, pod: Object, name: str) -> Placed:
        placed = self._placements.get(pod["metadata"]["uid"], name)
        if placed is None:
            raise ConfigError(f"volume {name!r} is not set up")
        return placed

    def _sub_paths(self, uid: str) -> str:
        return os.path.join(self._data_dir, "pods", uid, "volume-subpaths")

    async def tear_down(self, uid: str) -> None:
        """Nothing of the pod stands any more. Raises OSError while something cannot be undone."""
        await asyncio.to_thread(mounting.unmount, self._sub_paths(uid))
        for placed in self._placements.of_pod(uid):
            plugin = self._plugins.get(placed.plugin)
            if plugin is None:
                raise OSError(f"volume {placed.name}: {placed.plugin} is not on this node any more")
            async with self._locks[placed.identity]:
                users = self._placements.users(placed.identity, placed.plugin)
                await plugin.tear_down(placed, users <= {uid})
                self._placements.drop(placed)
            self._verified.discard((uid, placed.name))
            if not self._placements.users(placed.identity, placed.plugin):
                self._locks.pop(placed.identity, None)
        await self._report(self.in_use())
        if left := mounting.below(os.path.join(self._data_dir, "pods", uid, "volumes")):
            raise OSError(f"{left[0]} is still mounted: its files are not removed")

    async def _report(self, names: list[str]) -> None:
        """node.status.volumesInUse: told before a volume is touched, so that it stays attached."""
        if self._client is None or names == self._told:
            return
        patch = {"status": {"volumesInUse": names or None}}
        name = self._node()["metadata"]["name"]
        await self._client.patch("nodes", name, patch, subresource="status")
        self._told = names

    async def begin(self) -> None:
        """Say what is in use from before this kubelet: the Node may know otherwise."""
        self._told = ["unknown"]
        await self._report(self.in_use())

    def in_use(self) -> list[str]:
        """What is attached and must stay so, as node.status.volumesInUse has it."""
        return sorted({placed.in_use for placed in self._placements.all() if placed.in_use})

    async def usage(self, uid: str) -> tuple[VolumeUsage, ...]:
        """How full the volumes of a pod's claims are."""
        found = []
        for placed in self._placements.of_pod(uid):
            if placed.claim and self._placements.is_ready(placed) and not _is_block(placed):
                found.append(await measure(self._plugins[placed.plugin], placed))
        return tuple(each for each in found if each is not None)

    def handles_in_use(self, plugin: str) -> set[str]:
        """The volumes of one driver that stand here for some pod."""
        found = (placed for placed in self._placements.all() if placed.plugin == plugin)
        return {str(placed.details.get("handle")) for placed in found}


def _is_block(placed: Placed) -> bool:
    try:
        return stat.S_ISBLK(os.stat(placed.path).st_mode)
    except OSError:
        return False


def _part(root: str, text: str, name: str, place: str) -> str:
    """What a container gets for a subPath: with root, a mount of what was checked."""
    try:
        path = sub_paths.resolve(root, text, name)
        descriptor = sub_paths.open_inside(root, path)
    except OSError as error:
        raise ConfigError(f"subPath {text!r} of volume {name!r}: {error.strerror}") from error
    try:
        if os.geteuid() != 0:
            return path
        sub_paths.bind(descriptor, place)
        return place
    finally:
        os.close(descriptor)
