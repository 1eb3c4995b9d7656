"""Pods that the node runs on its own account: files of a folder, each shown in the API by a mirror.

They need no API server. What is done to a mirror changes nothing here: a deleted one comes again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from actors.seams import Seams
from cluster.client import Client, ClientError
from cluster.client.pods import remove_now
from cluster.machinery import defaulting, meta
from cluster.machinery.codec import yaml_codec
from cluster.machinery.errors import BadRequest
from cluster.machinery.status import ApiError

Object = dict[str, Any]

log = logging.getLogger(__name__)

SOURCE, HASH, SEEN, MIRROR = (
    f"kubernetes.io/config.{name}" for name in ("source", "hash", "seen", "mirror")
)
_SIZE_BYTES_MAX = 1 << 20
_FILES_MAX = 500


class BadManifest(Exception):
    """A file that is no pod; the message says why."""


def parse(data: bytes, node_name: str, now_s: float) -> Object:
    """The pod of a file (YAML or JSON). Its uid is a hash of all that counts."""
    try:
        pod: Object = yaml_codec.decode(data)
    except BadRequest as error:
        raise BadManifest(str(error)) from None
    if not isinstance(pod, dict) or (pod.get("apiVersion"), pod.get("kind")) != ("v1", "Pod"):
        raise BadManifest("it is no v1 Pod")
    metadata, spec = pod.setdefault("metadata", {}), pod.setdefault("spec", {})
    if not metadata.get("name") or not spec.get("containers"):
        raise BadManifest("it needs metadata.name and spec.containers")
    metadata["name"] = f"{metadata['name']}-{node_name}"
    metadata.setdefault("namespace", "default")
    spec["nodeName"] = node_name
    tolerations = spec.setdefault("tolerations", [])
    tolerations.append({"operator": "Exists", "effect": "NoExecute"})
    defaulting.apply(pod)
    text = json.dumps(pod, sort_keys=True)
    uid = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    metadata["uid"] = uid
    own = {SOURCE: "file", HASH: uid, SEEN: meta.format_time(now_s)}
    metadata["annotations"] = (metadata.get("annotations") or {}) | own
    return pod


def is_mirror(pod: Object) -> bool:
    return MIRROR in (pod["metadata"].get("annotations") or {})


def full_name(pod: Object) -> str:
    return f"{pod['metadata'].get('namespace', 'default')}/{pod['metadata']['name']}"


def mirror(pod: Object, node: Object) -> Object:
    """What the API is to show for a static pod."""
    metadata = {k: v for k, v in pod["metadata"].items() if k in ("name", "namespace", "labels")}
    uid = pod["metadata"]["uid"]
    metadata["annotations"] = pod["metadata"]["annotations"] | {MIRROR: uid}
    owner = {"apiVersion": "v1", "kind": "Node", "name": node["metadata"]["name"]}
    metadata["ownerReferences"] = [owner | {"uid": node["metadata"]["uid"], "controller": True}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod["spec"]}


class StaticPods:
    """`on_add(pod)` and `on_remove(uid)` follow the folder; `own_node()` may be None."""

    def __init__(
        self,
        folder: str,
        node_name: str,
        client: Client,
        seams: Seams,
        own_node: Callable[[], Object | None],
        on_add: Callable[[Object], None],
        on_remove: Callable[[str], None],
        period_s: float,
    ) -> None:
        self._folder, self._node_name = folder, node_name
        self._client, self._seams = client, seams
        self._own_node, self._on_add, self._on_remove = own_node, on_add, on_remove
        self._period_s = period_s
        self._read: dict[str, tuple[bytes, Object]] = {}
        self._mirrors: dict[str, Object] = {}
        self._synced = False
        self._task: asyncio.Task[None] | None = None

    @property
    def pods(self) -> Mapping[str, Object]:
        """By uid."""
        return {pod["metadata"]["uid"]: pod for _, pod in self._read.values()}

    def start(self) -> None:
        """The files are read before it returns."""
        self.look()
        self._task = asyncio.create_task(self._run(), name="static pods")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def api_is_known(self) -> None:
        """All mirrors that the API has were told."""
        self._synced = True

    def mirror_of(self, uid: str) -> Object | None:
        """The mirror as the API shows it; None where there is none that fits."""
        pod = self.pods.get(uid)
        found = self._mirrors.get(full_name(pod)) if pod is not None else None
        return found if found is not None and _hash(found) == uid else None

    def saw_mirror(self, kind: str, pod: Object) -> None:
        """The API added, changed or deleted a mirror."""
        if kind == "delete":
            self._mirrors.pop(full_name(pod), None)
        else:
            self._mirrors[full_name(pod)] = pod

    async def _run(self) -> None:
        while True:
            await self._seams.clock.sleep(self._period_s)
            self.look()
            if self._synced:
                await self._show()

    def look(self) -> None:
        """Read what is new in the folder. A file that cannot be read leaves its pod as it is."""
        try:
            names = sorted(n for n in os.listdir(self._folder) if not n.startswith("."))[
                :_FILES_MAX
            ]
        except FileNotFoundError:
            names = []
        for name in [name for name in self._read if name not in names]:
            self._on_remove(self._read.pop(name)[1]["metadata"]["uid"])
        for name in names:
            self._look_at(name)

    def _look_at(self, name: str) -> None:
        known = self._read.get(name)
        try:
            with open(os.path.join(self._folder, name), "rb") as file:
                data = file.read(_SIZE_BYTES_MAX)
            if known is not None and known[0] == data:
                return
            pod = parse(data, self._node_name, self._seams.clock.wall())
        except (BadManifest, OSError) as error:
            log.warning("static pod %s: %s", name, error)
            return
        old = known[1]["metadata"]["uid"] if known else ""
        self._read[name] = (data, pod)
        if old != pod["metadata"]["uid"]:
            if old:
                self._on_remove(old)
            self._on_add(pod)

    async def _show(self) -> None:
        """Make what mirrors are missing; delete those of nothing, of another pod, or half gone."""
        node = self._own_node()
        wanted = {full_name(pod): pod for pod in self.pods.values()}
        try:
            for name, found in list(self._mirrors.items()):
                pod = wanted.get(name)
                fits = pod is not None and _hash(found) == pod["metadata"]["uid"]
                if not fits or found["metadata"].get("deletionTimestamp"):
                    await remove_now(self._client, found)
            for name, pod in wanted.items():
                if name not in self._mirrors and node is not None:
                    await self._create(pod, node)
        except (ApiError, ClientError) as error:
            log.warning("mirrors of static pods: %s; trying again", error)

    async def _create(self, pod: Object, node: Object) -> None:
        wanted = mirror(pod, node)
        try:
            await self._client.create("pods", wanted, wanted["metadata"]["namespace"])
        except ApiError as error:
            if error.code != 409:  # it is on its way to us
                raise


def _hash(found: Object) -> str:
    return str((found["metadata"].get("annotations") or {}).get(MIRROR, ""))
