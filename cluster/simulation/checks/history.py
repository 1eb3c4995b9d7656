"""All objects at the newest revision, what they were shortly before, and who controls whom."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.machinery import meta
from raftstore.types import Event

Object = dict[str, Any]
ROOT = "/registry/"
WINDOW_S = 30.0
"""How far back something still excuses what a controller does, in simulated seconds."""


@dataclass(frozen=True)
class Change:
    """One object of a revision. `old` is None when it was created, `new` when it went."""

    revision: int
    now_s: float
    kind: str
    key: str
    """Resource and name, as in the store: "apps/deployments/default/web"."""
    old: Object | None
    new: Object | None

    @property
    def obj(self) -> Object:
        return self.new or self.old or {}

    @property
    def begins_to_go(self) -> bool:
        """It is deleted, or marked as such, by this change."""
        if self.old is None or is_going(self.old):
            return False
        return self.new is None or is_going(self.new)


@dataclass
class History:
    objects: dict[str, Object] = field(default_factory=dict)
    by_uid: dict[str, Object] = field(default_factory=dict)
    """Every object there ever was, in its last state."""
    children: dict[str, dict[str, Object]] = field(default_factory=dict)
    """By uid of the controller: keys and objects that it controls now."""
    specs: dict[str, deque[tuple[float, Object]]] = field(default_factory=dict)
    """By uid: versions of a spec, with the time until which each one was the newest."""
    lost: dict[str, list[float]] = field(default_factory=dict)
    """By uid of the controller: when ready pods were lost that no controller took away."""
    ready_s: dict[str, float] = field(default_factory=dict)
    """By uid of a pod: since when it has been ready."""
    blamed: set[str] = field(default_factory=set)
    """Uids of pods that users deleted or evicted, or are about to."""

    def changes(self, revision: int, events: Sequence[Event], now_s: float) -> Iterator[Change]:
        """Take in a revision; each change is told before the next one is taken in."""
        for event in events:
            key = event.kv.key.decode().removeprefix(ROOT)
            new = None
            if event.type == "put" and event.kv.value[:1] == b"{":
                new = json.loads(event.kv.value)
            old = self.objects.get(key)
            if (new is None and old is None) or "metadata" not in (new or old or {}):
                continue
            self._take(key, old, new, now_s)
            yield Change(revision, now_s, (new or old or {}).get("kind", ""), key, old, new)

    def _take(self, key: str, old: Object | None, new: Object | None, now_s: float) -> None:
        for obj in (old,) if old is not None else ():
            if (reference := meta.controller_of(obj)) is not None:
                self.children.get(reference["uid"], {}).pop(key, None)
        became = new is not None and new.get("kind") == "Pod" and is_ready(new)
        if new is not None and became and (old is None or not is_ready(old)):
            self.ready_s[new["metadata"]["uid"]] = now_s
        if new is None:
            self.objects.pop(key, None)
        else:
            self.objects[key] = self.by_uid[new["metadata"]["uid"]] = new
            if (reference := meta.controller_of(new)) is not None:
                self.children.setdefault(reference["uid"], {})[key] = new
        if old is not None and new is not None and old.get("spec") != new.get("spec"):
            kept = self.specs.setdefault(old["metadata"]["uid"], deque(maxlen=50))
            kept.append((now_s, old.get("spec") or {}))

    def ready_for_s(self, pod: Object, now_s: float) -> float:
        """How long it has been ready, or was before it began to go."""
        return now_s - self.ready_s.get(pod["metadata"]["uid"], now_s)

    def alive(self, uid: str) -> Object | None:
        """The object of that uid if it still exists."""
        obj = self.by_uid.get(uid)
        if obj is None:
            return None
        found = self.objects.get(key_of(obj))
        return found if found and found["metadata"]["uid"] == uid else None

    def recent_specs(self, owner: Object, now_s: float) -> list[Object]:
        """The spec now, and those that were the newest not long ago."""
        kept = self.specs.get(owner["metadata"]["uid"], ())
        recent = [spec for until_s, spec in kept if until_s >= now_s - WINDOW_S]
        return [owner["spec"], *recent]

    def of(self, uid: str, kind: str) -> list[Object]:
        """What it controls, of one kind."""
        return [o for o in self.children.get(uid, {}).values() if o["kind"] == kind]

    def kinds(self, kind: str) -> list[Object]:
        return [o for o in self.objects.values() if o.get("kind") == kind]

    def note_loss(self, uid: str, now_s: float) -> None:
        self.lost.setdefault(uid, []).append(now_s)

    def losses(self, uid: str, now_s: float, window_s: float = WINDOW_S) -> int:
        return sum(at_s >= now_s - window_s for at_s in self.lost.get(uid, ()))


def key_of(obj: Object) -> str:
    """The store's key of an object that is not a view of another."""
    group = obj["apiVersion"].rpartition("/")[0]
    plural = PLURALS.get(obj["kind"], obj["kind"].lower() + "s")
    space = obj["metadata"].get("namespace", "")
    return "/".join(filter(None, (group, plural, space, obj["metadata"]["name"])))


PLURALS = {"EndpointSlice": "endpointslices", "Endpoints": "endpoints"}


def is_going(obj: Object) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "Pending")


def is_over(pod: Object) -> bool:
    return phase(pod) in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    return not is_going(pod) and not is_over(pod)


def is_ready(pod: Object) -> bool:
    return meta.condition_is(pod, "Ready") and is_active(pod)


def replicas(spec: Object) -> int:
    return int(spec.get("replicas", 1))
