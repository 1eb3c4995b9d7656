"""What a client asks for next: every kind of operation, on few keys, with values of its own."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from actors.seams.randomness import Randomness
from raftstore.types import Compare, Delete, KeyValue, Op, Put, Range, Txn

PREFIX, PREFIX_END = b"key/", b"key0"
LARGE_BYTES = (600, 1500, 3000)
KEYS = [b"key/%d" % number for number in range(5)]


class Operations:
    """Random operations of one client. `known` is what it was last told about keys."""

    def __init__(self, number: int, randomness: Randomness) -> None:
        self._number, self._randomness = number, randomness
        self._values = count()
        self.known: dict[bytes, KeyValue | None] = {}
        self.revision = 1
        """The newest that the client has heard of."""
        kinds: list[tuple[Callable[[], Op], int]] = [
            (self._put, 40), (self._delete, 10), (self._swap, 30), (self._read, 30),
            (self._list, 12), (self._read_past, 6), (self._nested, 10), (self._keep, 4),
        ]  # fmt: skip
        self._kinds, self._weights = zip(*kinds, strict=True)

    def next(self) -> Op:
        op: Op = self._randomness.choices(self._kinds, self._weights)[0]()
        return op

    def _key(self) -> bytes:
        return self._randomness.choice(KEYS)

    def _value(self) -> bytes:
        """Unique; some are so large that a disk can lose a part of them."""
        value = b"%d-%d" % (self._number, next(self._values))
        return value.ljust(self._randomness.choice(LARGE_BYTES) if self._chance(0.3) else 0, b".")

    def _chance(self, probability: float) -> bool:
        return self._randomness.random() < probability

    def _put(self) -> Put:
        return Put(self._key(), self._value(), prev_kv=self._chance(0.3))

    def _keep(self) -> Put:
        if self._chance(0.5):
            return Put(self._key(), b"", ignore_value=True)
        return Put(self._key(), self._value(), ignore_lease=True)

    def _delete(self) -> Delete:
        if self._chance(0.1):
            return Delete(b"key/3", PREFIX_END, self._chance(0.5))
        return Delete(self._key(), prev_kv=self._chance(0.3))

    def _swap(self) -> Txn:
        """Write if the key is as it was last seen."""
        key = self._key()
        return Txn([self._unchanged(key)], [Put(key, self._value())], [Range(key)])

    def _unchanged(self, key: bytes) -> Compare:
        known = self.known.get(key)
        if known is None:
            return Compare(key, "version", "=", 0)
        if self._chance(0.5):
            return Compare(key, "value", "=", known.value)
        return Compare(key, "mod", "=", known.mod_revision)

    def _read(self) -> Range:
        return Range(self._key())

    def _list(self) -> Range:
        if self._chance(0.3):
            return Range(PREFIX, PREFIX_END)
        random = self._randomness
        bounds = [random.choice([0, 0, 0, max(0, self.revision - 20)]) for _ in range(4)]
        return Range(
            random.choice(KEYS[:3]), random.choice([PREFIX_END, b"key/4", b"\0"]),
            limit=random.randint(0, 3), keys_only=self._chance(0.2),
            count_only=self._chance(0.2),
            sort_target=random.choice(["key", "version", "create", "mod", "value"]),
            sort_order=random.choice(["", "ascend", "descend"]),
            min_mod_revision=bounds[0], max_mod_revision=bounds[1],
            min_create_revision=bounds[2], max_create_revision=bounds[3],
        )  # fmt: skip

    def _read_past(self) -> Range:
        revision = max(1, self.revision - self._randomness.randint(0, 20))
        return Range(PREFIX, PREFIX_END, revision=revision)

    def _nested(self) -> Txn:
        """Several keys at once, comparisons inside of branches, reads of what was just written."""
        first, second, third = self._randomness.sample(KEYS, 3)
        past = [Range(first, revision=self.revision)] if self._chance(0.3) else []
        inner = Txn(
            [self._unchanged(second)],
            [Put(second, self._value(), prev_kv=True)],
            [Delete(third), Range(third)],
        )
        return Txn(
            [Compare(PREFIX, "mod", ">", self.revision - 30, PREFIX_END)],
            [Put(first, self._value()), inner, Range(PREFIX, PREFIX_END), *past],
            [Range(first), Delete(second, prev_kv=True)],
        )

    def heard(self, op: Op, result: Any) -> None:
        """Learn from an answer."""
        self.revision = max(self.revision, result.revision)
        if isinstance(op, Txn):
            branch = op.success if result.succeeded else op.failure
            for inner, response in zip(branch, result.responses, strict=True):
                self.heard(inner, response)
        elif isinstance(op, Put):
            value = op.value if not op.ignore_value else b""
            self.known[op.key] = KeyValue(op.key, value, 0, result.revision, 1)
        elif isinstance(op, Range) and op == Range(op.key):
            self.known[op.key] = result.kvs[0] if result.kvs else None
        elif isinstance(op, Delete) and not op.range_end:
            self.known[op.key] = None
