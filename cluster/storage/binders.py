"""Several schedulers on one set of nodes: who has not seen what others put on a node is refused.

Per node a key says which scheduler bound a pod to it last, and the key's revision is that of the
binding. A scheduler tells who it is and up to which revision it has seen all pods; so whatever
it does not count itself, it has seen. One that tells neither is never refused, but seen by others.
"""

from __future__ import annotations

from dataclasses import dataclass

from cluster.machinery import resources, status
from cluster.storage import keys
from cluster.storage.quotas import Charge
from raftstore.types import Compare, Put, Store

PREFIX = keys.ROOT + "binders/"
NODES = resources.find("v1/nodes")


@dataclass(frozen=True, slots=True)
class Writer:
    """A scheduler: its identity ("": unknown), and the revision of the newest pods it has seen."""

    identity: str = ""
    seen: int = 0


class Binders:
    """Remembers what it wrote: mostly nobody else writes, and the transaction tells if so."""

    limit = 50_000

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last: dict[str, tuple[int, str]] = {}

    async def charge(self, node: str, writer: Writer, *, fresh: bool) -> Charge:
        """What a binding adds to its transaction. 409 if there is something it does not know.

        `fresh`: do not trust memory (the transaction that it was used for failed).
        """
        key = (PREFIX + node).encode()
        known = None if fresh else self._last.get(node)
        revision, holder = known or await self._read(key)
        if writer.identity and holder != writer.identity and revision > writer.seen:
            text = f"node {node} was given pods that the scheduler has not seen"
            raise status.conflict(NODES, node, text)
        compare = Compare(key, "mod", "=", revision)
        return Charge([compare], [Put(key, writer.identity.encode())])

    async def _read(self, key: bytes) -> tuple[int, str]:
        found = (await self._store.range(key)).kvs
        return (found[0].mod_revision, found[0].value.decode()) if found else (0, "")

    def note(self, node: str, writer: Writer, revision: int) -> None:
        """A binding was stored."""
        if len(self._last) >= self.limit:
            self._last.clear()
        self._last[node] = (revision, writer.identity)
