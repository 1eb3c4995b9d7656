"""Garbage collector: deletes objects whose owners are gone, as the deletion of the owner asks.

Background: dependents of an owner that is gone are deleted. Foreground: an owner waits for its
blocking dependents. Orphan: owner references are taken out before the owner goes. The graph says
where to look: owners are asked for live, and an object is deleted only in the version judged.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.client import ClientError, Informer
from cluster.client.informer import Handler
from cluster.client.timeouts import timeout
from cluster.controllers import discovery
from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.controllers.ownership_graph import FOREGROUND, ORPHAN, Node, OwnershipGraph
from cluster.machinery.resources import Resource, for_kind
from cluster.machinery.status import ApiError

Object = dict[str, Any]

IGNORED = {"events", "events.events.k8s.io"}
GONE_MAX = 4096
"""Owners that were found to be gone and are not asked for again: a uid never comes back."""
MIN_DISCOVERY_S = 1.0


class UnknownKind(ClientError):
    """Of an owner: served since a moment ago, or not any more. Nothing is decided meanwhile."""


@dataclass
class Owners:
    """The owner references of an object by what became of the owners."""

    solid: list[Object] = field(default_factory=list)
    dangling: list[Object] = field(default_factory=list)
    waiting: list[Object] = field(default_factory=list)


class GarbageCollector(Controller):
    """Keys are uids."""

    name = "garbage-collector"
    account = "generic-garbage-collector"
    workers = 8
    discovery_s = 30.0
    sync_s = 30.0

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._graph = OwnershipGraph()
        self._kinds: dict[tuple[str, str], Resource] = {}
        self._followed: dict[str, Informer] = {}
        self._gone: OrderedDict[tuple[str, str, str, str], None] = OrderedDict()
        self._unknown = asyncio.Event()
        self._ready = False
        self._complete = False

    def watches(self) -> Sequence[Watch]:
        return []

    async def background(self) -> None:
        """Follow whatever is served, now and later; nothing is judged before all is listed."""
        try:
            while True:
                try:
                    await self._follow()
                except (ApiError, ClientError):
                    self.metrics.failed += 1
                    await self.clock.sleep(1.0)
                    continue
                await self._until_news()
        finally:
            for informer in self._followed.values():
                await informer.stop()

    async def _until_news(self) -> None:
        """Until it is time to look for new kinds, soon if an owner of one has been met."""
        await self.clock.sleep(MIN_DISCOVERY_S)
        with contextlib.suppress(TimeoutError):
            async with timeout(self.clock, self.discovery_s):
                await self._unknown.wait()
        self._unknown.clear()

    async def _follow(self) -> None:
        """Of versions whose server does not answer what is known stays, and nothing is new."""
        served = await discovery.served(self.client)
        kept = {k: r for k, r in self._kinds.items() if r.api_version in served.failed}
        self._kinds = kept | {(r.api_version, r.kind): r for r in served.resources}
        wanted = {_full_name(r): r for r in served.preferred if _collectable(r)}
        for name in self._followed.keys() - wanted.keys():
            if self._followed[name].resource.api_version not in served.failed:
                await self._drop(name)
        for name in wanted.keys() - self._followed.keys():
            informer = Informer(self.client, wanted[name], metadata_only=True)
            informer.subscribe(self._handler(wanted[name]))
            informer.start()
            self._followed[name] = informer
        await self._synced()
        self._begin()

    async def _synced(self) -> None:
        """A kind that cannot be listed (its conversion webhook is down, say) does not hold up the
        deletion of what has lost its owners, for those are asked for live. Owners that wait for
        their dependents do wait: some may be of that kind.
        """
        self._complete = False
        with contextlib.suppress(TimeoutError):
            async with timeout(self.clock, self.sync_s):
                for informer in self._followed.values():
                    await informer.synced()
                self._complete = True

    async def _drop(self, name: str) -> None:
        informer = self._followed.pop(name)
        await informer.stop()
        for obj in informer.list():
            self._graph.remove(obj["metadata"]["uid"])

    def _begin(self) -> None:
        """Before everything was listed, every owner not yet listed looked like a lost one."""
        if self._ready:
            return
        self._ready = True
        for informer in self._followed.values():
            for obj in informer.list():
                self._touch(self._graph.put(Node.of(informer.resource, obj)))

    def _handler(self, resource: Resource) -> Handler:
        def handle(kind: str, old: Object | None, new: Object | None) -> None:
            if new is not None:
                self._touch(self._graph.put(Node.of(resource, new)))
            elif old is not None:
                self._touch(self._graph.remove(old["metadata"]["uid"]))

        return handle

    def _touch(self, uids: set[str]) -> None:
        for uid in uids if self._ready else ():
            self.queue.add(uid)

    async def reconcile(self, key: str) -> Result | None:
        node = self._graph.get(key)
        if node is None:
            return None
        if (node.orphans_dependents or node.deletes_dependents) and not self._complete:
            return Result(1.0)
        if node.orphans_dependents:
            await self._orphan(node)
        elif node.deletes_dependents:
            await self._finish_foreground(node)
        elif not node.deleting:
            await self._judge(node)
        return None

    async def _orphan(self, owner: Node) -> None:
        for dependent in self._graph.dependents(owner.uid):
            await self._drop_owners(dependent, {owner.uid})
        await self._drop_finalizer(owner, ORPHAN)

    async def _finish_foreground(self, owner: Node) -> None:
        """Let it go once nothing blocks it; else see that what blocks it is deleted."""
        blocking = [n for n in self._graph.dependents(owner.uid) if n.blocks(owner.uid)]
        if not blocking:
            await self._drop_finalizer(owner, FOREGROUND)
        for dependent in blocking:
            if not dependent.deletes_dependents:
                self.queue.add(dependent.uid)

    async def _judge(self, node: Node) -> None:
        """By the version that the graph knows; where there is a newer one by now, by that."""
        if await self._judged(node):
            return
        latest = await self._live(node)
        if latest is None:
            self._touch(self._graph.remove(node.uid))
        elif not await self._judged(Node.of(node.resource, latest)):
            self.queue.add_rate_limited(node.uid)

    async def _judged(self, node: Node) -> bool:
        """False if this version is not the latest any more: nothing was deleted."""
        if not node.owners or node.deleting:
            return True
        owners = await self._classify(node)
        lost = {r["uid"] for r in [*owners.dangling, *owners.waiting]}
        if owners.solid and lost:
            await self._drop_owners(node, lost)
        elif not owners.solid:
            return await self._delete(node, owners)
        return True

    async def _classify(self, node: Node) -> Owners:
        owners = Owners()
        for reference in node.owners:
            owner = await self._owner(node, reference)
            if owner is None:
                owners.dangling.append(reference)
            elif owner.deletes_dependents:
                owners.waiting.append(reference)
            else:
                owners.solid.append(reference)
        return owners

    async def _owner(self, node: Node, reference: Object) -> Node | None:
        """The owner as the server has it; None if it, or the object of that uid, is gone."""
        resource = self._kinds.get((reference["apiVersion"], reference["kind"])) or for_kind(
            reference["apiVersion"], reference["kind"]
        )
        if resource is None:
            self._unknown.set()
            raise UnknownKind(f"unknown owner kind {reference['apiVersion']} {reference['kind']}")
        if resource.namespaced and not node.namespace:
            raise LookupError(f"{node.name}: a cluster-scoped object has a namespaced owner")
        namespace = node.namespace if resource.namespaced else ""
        uid, name = reference["uid"], reference["name"]
        known = uid, _full_name(resource), namespace, name
        if known in self._gone:
            return None
        latest = await self._live(Node(uid, resource, namespace, name, (), frozenset(), False))
        if latest is not None:
            return Node.of(resource, latest)
        self._gone[known] = None
        if len(self._gone) > GONE_MAX:
            self._gone.popitem(last=False)
        return None

    async def _live(self, node: Node) -> Object | None:
        """The object of that name if it still has this uid."""
        try:
            found = await self.client.get(node.resource, node.name, node.namespace)
        except ApiError as error:
            if error.code == 404:
                return None
            raise
        return found if found["metadata"]["uid"] == node.uid else None

    async def _delete(self, node: Node, owners: Owners) -> bool:
        """As its own finalizers ask; in the foreground when an owner waits for its subtree. False
        if the object is another one, or in another version, by now."""
        dependents = self._graph.dependents(node.uid)
        if owners.waiting and dependents:
            await self._break_cycles(node, dependents)
            policy = "Foreground"
        elif ORPHAN in node.finalizers:
            policy = "Orphan"
        else:
            policy = "Foreground" if FOREGROUND in node.finalizers else "Background"
        try:
            await self.client.delete(
                node.resource,
                node.name,
                node.namespace,
                propagation=policy,
                uid=node.uid,
                resource_version=node.version,
            )
        except ApiError as error:
            if error.code not in (404, 409):
                raise
            return error.code == 404
        return True

    async def _break_cycles(self, node: Node, dependents: Sequence[Node]) -> None:
        """A dependent that itself waits for this object would never be done: unblock it."""
        for dependent in dependents:
            if dependent.deletes_dependents:
                references = [{**r, "blockOwnerDeletion": False} for r in node.owners]
                await self._patch(node, {"ownerReferences": references})
                return

    async def _drop_owners(self, node: Node, uids: set[str]) -> None:
        latest = await self._live(node)
        if latest is None:
            return
        metadata = latest["metadata"]
        old = metadata.get("ownerReferences") or []
        kept = [reference for reference in old if reference["uid"] not in uids]
        if len(kept) != len(old):
            version = metadata["resourceVersion"]
            await self._patch(node, {"ownerReferences": kept, "resourceVersion": version})

    async def _drop_finalizer(self, node: Node, finalizer: str) -> None:
        latest = await self._live(node)
        if latest is None:
            return
        metadata = latest["metadata"]
        old = metadata.get("finalizers") or []
        if finalizer in old:
            kept = [name for name in old if name != finalizer]
            version = metadata["resourceVersion"]
            await self._patch(node, {"finalizers": kept, "resourceVersion": version})

    async def _patch(self, node: Node, metadata: Object) -> None:
        """A conflict is raised, and the object is looked at again."""
        try:
            await self.client.patch(
                node.resource, node.name, {"metadata": metadata}, node.namespace
            )
        except ApiError as error:
            if error.code != 404:
                raise


def _collectable(resource: Resource) -> bool:
    verbs = {"list", "watch", "delete"}
    return verbs <= set(resource.verbs) and resource.group_resource not in IGNORED


def _full_name(resource: Resource) -> str:
    return f"{resource.api_version}/{resource.plural}"
