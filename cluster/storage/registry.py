"""Reading and writing the objects of one resource, with optimistic concurrency.

Every write is one transaction that compares the revision it was decided on. Whatever a caller
passes as `change` may run several times, each time on the newest version.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import cast

from actors.seams import Seams
from cluster.machinery import apply, status
from cluster.machinery.fencing import Fence
from cluster.machinery.resources import Resource
from cluster.machinery.status import ApiError
from cluster.storage import claims as claiming
from cluster.storage import deletion, encoding, keys, turns
from cluster.storage.binders import Binders, Writer
from cluster.storage.cache import ResourceCache
from cluster.storage.claims import Allocator
from cluster.storage.encoding import Object
from cluster.storage.encryption import Stale
from cluster.storage.event_leases import SharedLeases
from cluster.storage.feed import Progress
from cluster.storage.fencing import FencedStore
from cluster.storage.generated_names import name_suffix, new_uid
from cluster.storage.namespace_guard import Guard
from cluster.storage.options import DeleteOptions, uid_conflict
from cluster.storage.quotas import NOTHING, Charge, Quotas
from cluster.storage.stored_form import StoredForm
from cluster.storage.strategies.base import (
    Strategy,
    fill_system_metadata,
    keep_system_metadata,
)
from raftstore.errors import LeaseNotFound
from raftstore.types import Compare, Delete, Op, Put, Range, RangeResult, Result, Store

WRITE_ATTEMPTS = 64
NAME_ATTEMPTS = 8

Change = Callable[[Object], Awaitable[Object]]
"""From the current object (the callee may change it) to the wanted one."""
Judge = Callable[[Object, Object | None], Awaitable[None]]
"""Says yes to (new, old) as they would be stored, or raises ApiError."""


Beside = Callable[[], Awaitable[Charge]]
"""What else belongs into the transaction of a write; asked for each attempt."""


async def _nothing() -> Charge:
    return NOTHING


async def _anything(new: Object, old: Object | None) -> None:
    """The judge of those who need none."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A version of an object: what the store holds, and the same as clients see it."""

    revision: int
    stored: bytes

    @property
    def data(self) -> bytes:
        return encoding.splice(self.stored, self.revision)

    def decode(self) -> Object:
        return encoding.decode(self.data)


@dataclass(frozen=True, slots=True)
class Written:
    """The outcome of a write. `removed`: the object is gone now; `data` is its last state.
    `revision`: of the transaction that wrote it, or of the object that is as wanted already."""

    data: bytes
    created: bool = False
    removed: bool = False
    revision: int = 0

    @property
    def obj(self) -> Object:
        """Decoded on demand: most answers are the bytes as they are."""
        return encoding.decode(self.data)


@dataclass(frozen=True)
class Environment:
    """What all registries of a server share."""

    store: Store
    seams: Seams
    feed: Progress
    allocator: Allocator
    leases: SharedLeases
    guard: Guard
    quotas: Quotas

    @cached_property
    def binders(self) -> Binders:
        return Binders(self.store)


class Registry:
    """One per served resource."""

    def __init__(
        self,
        resource: Resource,
        strategy: Strategy,
        cache: ResourceCache,
        env: Environment,
        form: StoredForm | None = None,
    ) -> None:
        """`form`: how objects are stored, unless it is that of the cache."""
        self.resource, self.strategy, self.cache = resource, strategy, cache
        self._env, self.form = env, form or cache.form
        self._store = env.store

    def fenced(self, fence: Fence) -> Registry:
        """The same for a leader's writes: each is refused once the leader's term is over."""
        registry = copy.copy(self)
        registry._store = cast(Store, FencedStore(self._env.store, fence))
        return registry

    def now_s(self) -> float:
        """The time that goes into objects."""
        return self._env.seams.clock.wall()

    def key(self, namespace: str, name: str) -> str:
        return keys.key(self.resource, namespace, name)

    # -- reading -----------------------------------------------------------------------------

    async def get(self, namespace: str, name: str, resource_version: str = "") -> bytes:
        """The object's bytes: the newest, or at least as new as `resource_version`."""
        if resource_version in ("", None):
            await self._env.feed.fresh()
        elif resource_version != "0":
            await self._env.feed.reach(int(resource_version))
        entry = self.cache.get(self.key(namespace, name))
        if entry is None:
            raise status.not_found(self.resource, name)
        return entry.data

    async def _read(self, namespace: str, name: str) -> Stored:
        result = await self._store.range(self.key(namespace, name).encode())
        return self._found(result, name)

    def _found(self, result: Result, name: str) -> Stored:
        assert isinstance(result, RangeResult)
        if not result.kvs:
            raise status.not_found(self.resource, name)
        kv = result.kvs[0]
        return Stored(kv.mod_revision, kv.value)

    def _cached(self, namespace: str, name: str) -> Stored | None:
        """A guess at the current version, which the write's transaction will check."""
        entry = self.cache.get(self.key(namespace, name))
        if entry is None:
            return None
        return Stored(entry.revision, encoding.unsplice(entry.data))

    async def _load(self, current: Stored) -> Object:
        """The object as this resource's version shows it; the caller may change it."""
        (data,) = await self.form.load([current.stored])
        return Stored(current.revision, data).decode()

    # -- creating ----------------------------------------------------------------------------

    async def create(
        self, obj: Object, *, dry_run: bool = False, judge: Judge = _anything
    ) -> Written:
        """Store a new object; `obj` belongs to the registry from now on. 409 if it exists."""
        seams = self._env.seams
        fill_system_metadata(obj, new_uid(seams), seams.clock.wall())
        prefix = "" if obj["metadata"].get("name") else obj["metadata"].get("generateName", "")
        for attempt in range(NAME_ATTEMPTS):
            new = encoding.copied(obj) if prefix else obj
            if prefix:
                new["metadata"]["name"] = prefix[:58] + name_suffix(seams)
            try:
                return await self._create(new, dry_run, judge)
            except ApiError as error:
                taken = error.reason == "AlreadyExists"
                if not prefix or not taken or attempt == NAME_ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    async def _create(self, obj: Object, dry_run: bool, judge: Judge) -> Written:
        self.strategy.prepare_create(obj)
        name = obj["metadata"].get("name", "")
        pristine = obj
        for attempt in range(WRITE_ATTEMPTS):
            obj = encoding.copied(pristine) if self.strategy.assigns else pristine
            checks = await self._env.guard.check(self.resource, obj, fresh=attempt > 0)
            await self._assign(obj, None, attempt)
            created = partial(self.strategy.validate_create, obj)
            self._refuse_invalid(name, await turns.run(created))
            if attempt == 0:
                await judge(obj, None)
            written = await self._try_create(obj, pristine, checks, dry_run)
            if written is not None:
                return written
        raise status.conflict(self.resource, name)

    async def _try_create(
        self, obj: Object, pristine: Object, checks: list[Compare], dry_run: bool
    ) -> Written | None:
        name, namespace = obj["metadata"]["name"], obj["metadata"].get("namespace", "")
        key = self.key(namespace, name).encode()
        wanted = self.strategy.claims(obj)
        self._refuse_invalid(name, self._env.allocator.out_of_range(wanted))
        compares, ops = claiming.operations({}, wanted, self._claimed_by(key))
        data = encoding.encode(obj)
        reads: list[Op] = [Range(key), *(Range(c.encode()) for c in wanted)]
        put = await self._put(key, await self.form.dump(data))
        compares = [Compare(key, "create", "=", 0), *checks, *compares]
        async with self._env.quotas.charge(self.resource, obj, None, self.cache) as charge:
            compares, ops = [*compares, *charge.compares], [put, *ops, *charge.ops]
            revision, succeeded, responses = await self._commit(compares, ops, reads, dry_run)
        if succeeded:
            return self._written(data, revision, dry_run, created=True)
        self._refuse_taken(name, self.strategy.claims(pristine), wanted, responses)
        return None

    async def _commit(
        self,
        compares: Sequence[Compare],
        ops: Sequence[Op],
        reads: Sequence[Op],
        dry_run: bool,
    ) -> tuple[int, bool, Sequence[Result]]:
        """The write, or for a dry run only its compares."""
        try:
            result = await self._store.txn(compares, [] if dry_run else ops, reads)
        except LeaseNotFound:
            self._env.leases.forget()
            raise
        return result.revision, result.succeeded, result.responses

    def _refuse_taken(
        self,
        name: str,
        asked: Mapping[str, str],
        wanted: Mapping[str, str],
        responses: Sequence[Result],
    ) -> None:
        """Raise if the object exists or a value that the client itself chose is taken."""
        first = responses[0]
        assert isinstance(first, RangeResult)
        if first.kvs:
            raise status.already_exists(self.resource, name)
        self._refuse_taken_claims(name, asked, wanted, responses[1:])

    def _refuse_taken_claims(
        self,
        name: str,
        asked: Mapping[str, str],
        wanted: Mapping[str, str],
        responses: Sequence[Result],
    ) -> None:
        for (claim, field), response in zip(wanted.items(), responses, strict=True):
            assert isinstance(response, RangeResult)
            if response.kvs and claim in asked:
                self._refuse_invalid(name, [claiming.taken_cause(claim, field)])

    async def _assign(self, new: Object, old: Object | None, attempt: int) -> None:
        """Fill in claimed values; after the first collisions only values that are free now."""
        allocator = self._env.allocator
        if attempt < claiming.RANDOM_ATTEMPTS:
            self.strategy.assign(new, old, allocator.propose)
            return
        asked: list[str] = []

        def note(kind: str) -> str:
            asked.append(kind)
            return allocator.propose(kind)

        self.strategy.assign(encoding.copied(new), old, note)
        free = [await allocator.propose_free(kind) for kind in asked]
        self.strategy.assign(new, old, lambda kind: free.pop(0))

    def _claimed_by(self, holder: bytes) -> Callable[[str], bytes]:
        """What stands in the store as a claim of this holder."""
        seams = self._env.seams
        now_s = seams.clock.wall()
        return lambda claim: claiming.content(claim, holder.decode(), new_uid(seams), now_s)

    async def _put(self, key: bytes, data: bytes) -> Put:
        lease = await self._env.leases.current() if self.strategy.expires else 0
        return Put(key, data, lease=lease)

    def _refuse_invalid(self, name: str, causes: Sequence[status.Cause]) -> None:
        if causes:
            raise status.invalid(self.resource.group_kind, name, causes)

    def _written(
        self, data: bytes, revision: int, dry_run: bool, *, created: bool = False
    ) -> Written:
        shown = data if dry_run and created else encoding.splice(data, revision)
        return Written(shown, created, revision=revision)

    # -- updating ----------------------------------------------------------------------------

    async def update(
        self,
        namespace: str,
        name: str,
        change: Change,
        *,
        subresource: str = "",
        dry_run: bool = False,
        judge: Judge = _anything,
        beside: Beside = _nothing,
    ) -> Written:
        """Change an object; 404 if there is none, 409 if `change` insists on another version.

        The first attempt is made on the cached version, for most writes meet no other; what
        fails on that is tried again on the version that the store holds.
        """
        current = self._cached(namespace, name)
        certain = current is None
        for attempt in range(WRITE_ATTEMPTS):
            if current is None:
                current, certain = await self._read(namespace, name), True
            try:
                new = await self._changed(current, change, subresource, attempt, judge)
            except ApiError:
                if certain:
                    raise
                current = None
                continue
            outcome = await self._try_update(current, new, certain, dry_run, await beside())
            if isinstance(outcome, Written):
                return outcome
            current, certain = outcome, outcome is not None
        raise status.conflict(self.resource, name)

    async def bind(
        self, namespace: str, name: str, change: Change, node: str, writer: Writer, dry_run: bool
    ) -> Written:
        """As `update`; 409 if others put pods on the node that the scheduler has not seen."""

        binders, attempts = self._env.binders, 0

        async def beside() -> Charge:
            nonlocal attempts
            attempts += 1
            return await binders.charge(node, writer, fresh=attempts > 1)

        written = await self.update(
            namespace, name, change, subresource="binding", dry_run=dry_run, beside=beside
        )
        if not dry_run:
            binders.note(node, writer, written.revision)
        return written

    async def _changed(
        self, current: Stored, change: Change, subresource: str, attempt: int, judge: Judge
    ) -> tuple[Object, Object, bool]:
        """(new, old, whether the new one must be removed) after strategy and validation."""
        old = await self._load(current)
        new = await change(encoding.copied(old))
        self._check_identity(new, old)
        keep_system_metadata(new, old)
        self.strategy.prepare(new, old, subresource)
        await self._assign(new, old, attempt)
        apply.settle(new, old)
        name = old["metadata"]["name"]
        if subresource != "binding":
            updated = partial(self.strategy.validate_update, new, old, subresource)
            self._refuse_invalid(name, await turns.run(updated))
        added = {
            k: v for k, v in self.strategy.claims(new).items() if k not in self.strategy.claims(old)
        }
        self._refuse_invalid(name, self._env.allocator.out_of_range(added))
        await judge(new, old)
        return new, old, deletion.is_finished(new, self.strategy)

    def _check_identity(self, new: Object, old: Object) -> None:
        """409 for another version or another incarnation than the one the client has seen."""
        wanted, had = new["metadata"], old["metadata"]
        name = had["name"]
        version = wanted.get("resourceVersion")
        if version and version != had["resourceVersion"]:
            raise status.conflict(self.resource, name)
        if wanted.get("uid") and wanted["uid"] != had["uid"]:
            raise uid_conflict(self.resource, name, wanted["uid"], had["uid"])

    async def _try_update(
        self,
        current: Stored,
        changed: tuple[Object, Object, bool],
        certain: bool,
        dry_run: bool,
        more: Charge,
    ) -> Written | Stored | None:
        """What was written; the newer version that was in the way; None to read it anew."""
        new, old, finished = changed
        name = old["metadata"]["name"]
        key = self.key(old["metadata"].get("namespace", ""), name).encode()
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        data = encoding.encode(old if new == old else new)  # the order of keys is no change
        stored = await self.form.dump(data)
        guessed = not certain and data == current.stored  # a guess is in the version shown
        stale = isinstance(current.stored, Stale)  # written anew, though it says the same
        if (guessed or stored == current.stored) and not finished and not stale:
            if not certain:
                return None
            return self._written(data, current.revision, dry_run)
        held, wanted = self.strategy.claims(old), self.strategy.claims(new)
        compares, ops = claiming.operations(held, {} if finished else wanted, self._claimed_by(key))
        write: Op = Delete(key) if finished else await self._put(key, stored)
        added = {k: v for k, v in wanted.items() if k not in held}
        kept = None if finished else new
        async with self._env.quotas.charge(self.resource, kept, old, self.cache) as charge:
            revision, succeeded, responses = await self._commit(
                [
                    Compare(key, "mod", "=", current.revision),
                    *compares,
                    *charge.compares,
                    *more.compares,
                ],
                [write, *ops, *charge.ops, *more.ops],
                [Range(key), *(Range(c.encode()) for c in added)],
                dry_run,
            )
        if not succeeded:
            newer = self._found(responses[0], name)
            if newer.revision == current.revision:
                self._refuse_taken_claims(name, added, added, responses[1:])
            return newer
        revision = current.revision if dry_run else revision
        return Written(encoding.splice(data, revision), removed=finished, revision=revision)

    # -- deleting ----------------------------------------------------------------------------

    async def delete(self, namespace: str, name: str, options: DeleteOptions) -> Written:
        """Begin or finish the deletion of an object. As an update, it is decided on the cached
        version first; whatever says that there is nothing to do is asked of the store."""
        current = self._cached(namespace, name)
        certain = current is None
        for _ in range(WRITE_ATTEMPTS):
            if current is None:
                current, certain = await self._read(namespace, name), True
            obj = await self._load(current)
            refusal = options.preconditions.refusal(self.resource, obj)
            if refusal is not None and certain:
                raise refusal
            if refusal is not None:
                current = None
                continue
            outcome = deletion.begin(obj, self.strategy, options, self._env.seams.clock.wall())
            if outcome == "keep" and certain:
                return self._written(encoding.encode(obj), current.revision, options.dry_run)
            if outcome == "keep":
                current = None
                continue
            newer = await self._try_delete(current, obj, outcome == "remove", options.dry_run)
            if isinstance(newer, Written):
                return newer
            current, certain = newer, True
        raise status.conflict(self.resource, name)

    async def _try_delete(
        self, current: Stored, obj: Object, remove: bool, dry_run: bool
    ) -> Written | Stored:
        name = obj["metadata"]["name"]
        key = self.key(obj["metadata"].get("namespace", ""), name).encode()
        data = encoding.encode(obj)
        ops: list[Op] = [Delete(key)]
        if not remove:
            ops = [await self._put(key, await self.form.dump(data))]
        else:
            ops += claiming.operations(self.strategy.claims(obj), {}, self._claimed_by(key))[1]
        kept = None if remove else obj
        async with self._env.quotas.charge(self.resource, kept, obj, self.cache) as charge:
            compares = [Compare(key, "mod", "=", current.revision), *charge.compares]
            ops += charge.ops
            revision, succeeded, responses = await self._commit(
                compares, ops, [Range(key)], dry_run
            )
        if not succeeded:
            return self._found(responses[0], name)
        written = self._written(data, current.revision if dry_run else revision, dry_run)
        return Written(written.data, removed=remove)
