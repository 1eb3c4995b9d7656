"""Which leases exist and which keys hang on them. When one expires is not decided here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from raftstore.errors import InvalidRequest, LeaseExists, LeaseNotFound, LeaseTtlTooLarge
from raftstore.types import Event

MAX_TTL_S = 9_000_000_000
MAX_LEASE_ID = 2**63 - 1


class LeaseTable:
    """Leases by id; usable as a collection of the ids that exist."""

    def __init__(self) -> None:
        self._ttls_s: dict[int, int] = {}
        self._keys: dict[int, set[bytes]] = {}
        self._next_id = 1

    def __contains__(self, lease_id: object) -> bool:
        return lease_id in self._ttls_s

    def __iter__(self) -> Any:
        return iter(self._ttls_s)

    def __len__(self) -> int:
        return len(self._ttls_s)

    def ttl_s(self, lease_id: int) -> int:
        """What was granted. Raises LeaseNotFound."""
        try:
            return self._ttls_s[lease_id]
        except KeyError:
            raise LeaseNotFound(f"lease {lease_id} does not exist") from None

    def keys(self, lease_id: int) -> list[bytes]:
        """The keys attached, sorted (so that a revocation is the same everywhere)."""
        return sorted(self._keys.get(lease_id, ()))

    def grant(self, ttl_s: int, lease_id: int) -> int:
        """Add a lease; id 0 takes the next free one. Raises InvalidRequest."""
        if ttl_s > MAX_TTL_S:
            raise LeaseTtlTooLarge(f"a lease lives at most {MAX_TTL_S} s")
        if ttl_s <= 0 or not 0 <= lease_id <= MAX_LEASE_ID:
            raise InvalidRequest("lease id or time to live out of range")
        if lease_id in self._ttls_s:
            raise LeaseExists(f"lease {lease_id} already exists")
        lease_id = lease_id or self._free_id()
        self._ttls_s[lease_id] = ttl_s
        return lease_id

    def _free_id(self) -> int:
        while self._next_id in self._ttls_s:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    def revoke(self, lease_id: int) -> None:
        del self._ttls_s[lease_id]
        self._keys.pop(lease_id, None)

    def follow(self, events: Iterable[Event]) -> None:
        """Keep the attachments up to date with what happened to keys."""
        for event in events:
            previous = event.prev_kv
            if previous is not None and previous.lease:
                self._keys.get(previous.lease, set()).discard(previous.key)
            if event.kv.lease:
                self._keys.setdefault(event.kv.lease, set()).add(event.kv.key)

    def dump(self) -> list[Any]:
        """For a snapshot: `[next id, [[id, ttl], ...]]`; attachments follow from the keys."""
        return [self._next_id, [list(item) for item in self._ttls_s.items()]]

    def load(self, dumped: list[Any], attached: Iterable[tuple[bytes, int]]) -> None:
        """The inverse of `dump`; `attached`: (key, lease) of every key that has a lease."""
        self._next_id, ttls = dumped
        self._ttls_s = {lease_id: ttl_s for lease_id, ttl_s in ttls}
        self._keys = {}
        for key, lease_id in attached:
            self._keys.setdefault(lease_id, set()).add(key)
