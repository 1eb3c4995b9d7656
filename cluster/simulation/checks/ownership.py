"""Owners: who controls what, what is collected, and namespaces that end empty."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cluster.machinery import meta
from cluster.simulation.checks.history import Change, History, is_going

Object = dict[str, Any]
ASKED_S = 1.0
"""Between asking whether an owner is there and adopting for it."""


class Ownership:
    """`removed`: keys that users delete themselves."""

    def __init__(self) -> None:
        self.removed: set[str] = set()
        self._gone_namespaces: set[str] = set()
        self._going_s: dict[str, float] = {}
        """By uid: since when an object has been going."""

    def check(self, change: Change, history: History) -> Iterator[str]:
        if is_going(change.obj) or change.new is None:
            self._going_s.setdefault(change.obj["metadata"]["uid"], change.now_s)
        yield from self._namespace(change, history)
        yield from self._adopted(change)
        if change.old is not None and change.new is not None:
            yield from _controller(change, change.old, change.new)
        if change.kind == "ConfigMap" and change.new is None and change.old is not None:
            yield from self._collected(change, change.old, history)

    def _adopted(self, change: Change) -> Iterator[str]:
        """Nothing is taken by an owner that has been going for a while: it was orphaned."""
        if change.old is None or change.new is None or meta.controller_of(change.old):
            return
        reference = meta.controller_of(change.new)
        going_s = self._going_s.get(reference["uid"]) if reference else None
        if reference is not None and going_s is not None and change.now_s - going_s > ASKED_S:
            yield f"{change.key} is adopted by {reference['name']}, which is going"

    def _collected(self, change: Change, old: Object, history: History) -> Iterator[str]:
        """The collector takes what has no owner left (or waits to go with its owner)."""
        references = old["metadata"].get("ownerReferences") or []
        space = history.objects.get(f"namespaces/{meta.namespace(old)}")
        if change.key in self.removed or not references or space is None or is_going(space):
            return
        for reference in references:
            owner = history.alive(reference["uid"])
            if owner is not None and not is_going(owner):
                yield f"{change.key} is collected while its owner {reference['name']} is there"

    def _namespace(self, change: Change, history: History) -> Iterator[str]:
        if change.kind == "Namespace":
            name = change.obj["metadata"]["name"]
            if change.new is not None:
                self._gone_namespaces.discard(name)
                return
            self._gone_namespaces.add(name)
            left = [
                key for key, obj in history.objects.items()
                if obj["metadata"].get("namespace") == name and obj.get("kind") != "Event"
            ]  # fmt: skip
            if left:
                yield f"namespace {name} is gone and {left[:3]} are not"
        elif change.old is None and meta.namespace(change.obj) in self._gone_namespaces:
            yield f"{change.key} is created in a namespace that is gone"


def _controller(change: Change, old: Object, new: Object) -> Iterator[str]:
    before, after = meta.controller_of(old), meta.controller_of(new)
    if old["metadata"]["uid"] != new["metadata"]["uid"]:
        yield f"{change.key} changes its uid"
    elif before and after and before["uid"] != after["uid"]:
        yield f"{change.key} goes from one controller to another without being let go"
    controllers = [r for r in new["metadata"].get("ownerReferences") or () if r.get("controller")]
    if len(controllers) > 1:
        yield f"{change.key} has {len(controllers)} controllers"


def orphans(history: History) -> Iterator[str]:
    """At the end: what says that it is owned, and has no owner."""
    for key, obj in history.objects.items():
        references = obj["metadata"].get("ownerReferences") or ()
        if references and not any(history.alive(r["uid"]) for r in references):
            yield f"{key} is left without its owner {references[0]['name']}"
