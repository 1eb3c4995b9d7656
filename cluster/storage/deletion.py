"""What a deletion does to an object: removes it, marks it, or leaves it as it is (pure).

Follows upstream's rest.BeforeDelete and the registry store's finalizer handling.
"""

from __future__ import annotations

from typing import Literal

from cluster.machinery import meta
from cluster.storage.encoding import Object
from cluster.storage.options import FOREGROUND, ORPHAN, DeleteOptions
from cluster.storage.strategies.base import Strategy

Outcome = Literal["remove", "update", "keep"]
ORPHAN_FINALIZER = "orphan"
FOREGROUND_FINALIZER = "foregroundDeletion"
_BY_PROPAGATION = {ORPHAN: ORPHAN_FINALIZER, FOREGROUND: FOREGROUND_FINALIZER}


def begin(obj: Object, strategy: Strategy, options: DeleteOptions, now_s: float) -> Outcome:
    """Change `obj` as its deletion asks. "keep": it is terminating already, nothing to write."""
    metadata = obj["metadata"]
    before = (metadata.get("deletionTimestamp"), metadata.get("deletionGracePeriodSeconds"))
    finalizers = list(metadata.get("finalizers") or ())
    _set_propagation(metadata, options.propagation)
    grace_s = strategy.grace_s(obj, options.grace_s)
    held = any(True for _ in strategy.holders(obj))
    if grace_s == 0 and not held:
        return "remove"
    _mark(obj, grace_s, now_s)
    strategy.mark_terminating(obj)
    after = (metadata["deletionTimestamp"], metadata["deletionGracePeriodSeconds"])
    changed = before != after or finalizers != (metadata.get("finalizers") or [])
    if before[0] is None and "generation" in metadata:
        metadata["generation"] += 1
    return "update" if changed else "keep"


def _mark(obj: Object, grace_s: int, now_s: float) -> None:
    """Set the time of deletion; a second deletion may only bring it nearer."""
    metadata = obj["metadata"]
    known_s = metadata.get("deletionGracePeriodSeconds")
    if metadata.get("deletionTimestamp") and known_s is not None:
        if grace_s >= known_s:
            return
        due_s = meta.parse_time(metadata["deletionTimestamp"]) - known_s + grace_s
    else:
        due_s = now_s + grace_s
    metadata["deletionTimestamp"] = meta.format_time(due_s)
    metadata["deletionGracePeriodSeconds"] = grace_s


def _set_propagation(metadata: Object, propagation: str) -> None:
    """The garbage collector reads the policy from a finalizer; no policy keeps what is there."""
    if not propagation:
        return
    rest = [f for f in metadata.get("finalizers") or () if f not in _BY_PROPAGATION.values()]
    wanted = _BY_PROPAGATION.get(propagation)
    finalizers = [*rest, wanted] if wanted else rest
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)


def is_finished(obj: Object, strategy: Strategy) -> bool:
    """Whether an object that is being deleted has nothing left to wait for."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("deletionGracePeriodSeconds"):
        return False
    return not any(True for _ in strategy.holders(obj))
