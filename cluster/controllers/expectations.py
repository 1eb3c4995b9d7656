"""What a controller has asked for and not yet seen, so that a stale cache doubles nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.seams import Clock

TIMEOUT_S = 300.0
"""After this time the cache is believed again, as upstream's ExpectationsTimeout."""


@dataclass
class _Expected:
    since_s: float
    creations: set[str] = field(default_factory=set)
    deletions: set[str] = field(default_factory=set)


class Expectations:
    """Per key, the names of objects to be created and the uids of objects to be deleted."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._expected: dict[str, _Expected] = {}
        self._by_name: dict[tuple[str, str], str] = {}
        self._by_uid: dict[str, str] = {}

    def satisfied(self, key: str) -> bool:
        expected = self._expected.get(key)
        if expected is None or not (expected.creations or expected.deletions):
            return True
        return self._clock.now() - expected.since_s > TIMEOUT_S

    def expect_creations(self, key: str, names: set[str]) -> None:
        self._begin(key).creations |= names
        self._by_name |= {(_namespace(key), name): key for name in names}

    def expect_deletions(self, key: str, uids: set[str]) -> None:
        self._begin(key).deletions |= uids
        self._by_uid |= dict.fromkeys(uids, key)

    def created(self, key: str, name: str) -> None:
        """Seen, or known not to happen."""
        self._by_name.pop((_namespace(key), name), None)
        if key in self._expected:
            self._expected[key].creations.discard(name)

    def deleted(self, key: str, uid: str) -> None:
        self._by_uid.pop(uid, None)
        if key in self._expected:
            self._expected[key].deletions.discard(uid)

    def appeared(self, namespace: str, name: str) -> None:
        """Whoever controls it by now: it may have been let go before it was seen."""
        if key := self._by_name.get((namespace, name)):
            self.created(key, name)

    def vanished(self, uid: str) -> None:
        """It is gone, or going, whoever controls it by now."""
        if key := self._by_uid.get(uid):
            self.deleted(key, uid)

    def forget(self, key: str) -> None:
        expected = self._expected.pop(key, None)
        for name in expected.creations if expected else ():
            self._by_name.pop((_namespace(key), name), None)
        for uid in expected.deletions if expected else ():
            self._by_uid.pop(uid, None)

    def _begin(self, key: str) -> _Expected:
        if self.satisfied(key):
            self.forget(key)
            self._expected[key] = _Expected(self._clock.now())
        return self._expected[key]


def _namespace(key: str) -> str:
    return key.rpartition("/")[0]
