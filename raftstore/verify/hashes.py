"""Members that keep the same have the same hash (etcd's HashKV)."""

from __future__ import annotations

from collections.abc import Iterable

from raftstore.types import HashKv


def check(hashes: Iterable[tuple[str, HashKv]]) -> list[str]:
    """`hashes`: what members answered, with their names; only like can be compared with like."""
    known: dict[tuple[int, int], tuple[str, int]] = {}
    problems = []
    for member, told in hashes:
        first = known.setdefault((told.revision, told.compact_revision), (member, told.hash))
        if first[1] != told.hash:
            problems.append(f"{member} and {first[0]} differ at revision {told.revision}: {told}")
    return problems
