"""The base strategy: spec and status are written apart, and generation counts changes of spec.

Strategies are pure: the registry gives them objects of their own to change in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cluster.machinery import empties, meta, validation
from cluster.machinery.selectors import field_text
from cluster.machinery.status import Cause
from cluster.storage.encoding import Object

ALWAYS_SELECTABLE = ("metadata.name", "metadata.namespace")


class Strategy:
    """One per resource. Class attributes say how the resource differs from others."""

    selectable: tuple[str, ...] = ()
    """Field paths that field selectors may name, besides the two of ALWAYS_SELECTABLE."""
    has_status = False
    counts_generation = False
    returns_deleted = False
    """Whether a finished deletion is answered with the object instead of a Status."""
    creates_on_update = False
    """Whether a PUT to a name that does not exist creates the object."""
    expires = False
    """Whether objects live under a lease (events)."""
    assigns = False
    """Whether `assign` fills in anything."""

    def fields(self, obj: Object) -> dict[str, str]:
        """The selectable fields as text."""
        return {path: field_text(obj, path) for path in self.selectable}

    def prepare_create(self, obj: Object) -> None:
        """Make a client's object one that may be stored."""
        if self.has_status:
            obj["status"] = self.empty_status(obj)
        if self.counts_generation:
            obj["metadata"]["generation"] = 1

    def empty_status(self, obj: Object) -> Object:
        """That of a new object: a struct of Go is there although nobody has filled it in."""
        return empties.zero_status(obj)

    def prepare_update(self, new: Object, old: Object) -> None:
        """A write to the resource itself leaves the status alone."""
        if self.has_status:
            keep(new, old, "status")
        if self.counts_generation and self.observed(new) != self.observed(old):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1

    def prepare_status(self, new: Object, old: Object) -> None:
        """A write to `/status` changes nothing else but annotations and finalizers."""
        for part in {*new, *old} - {"kind", "apiVersion", "metadata", "status"}:
            keep(new, old, part)
        keep(new["metadata"], old["metadata"], "labels")
        keep(new["metadata"], old["metadata"], "ownerReferences")

    def validate_create(self, obj: Object) -> list[Cause]:
        """Every reason why the object may not be created."""
        return validation.validate_create(obj)

    def validate_update(self, new: Object, old: Object, subresource: str = "") -> list[Cause]:
        """Every reason why `new` may not take the place of `old`."""
        return validation.validate_update(new, old, subresource=subresource)

    def prepare(self, new: Object, old: Object, subresource: str) -> None:
        """Keep of the old object whatever a write through this subresource may not change.

        A binding changes what clients may not, so nothing is taken back from it.
        """
        if subresource == "status":
            self.prepare_status(new, old)
        elif subresource in ("", "scale"):
            self.prepare_update(new, old)
        elif subresource != "binding":
            self.prepare_other(new, old, subresource)

    def prepare_other(self, new: Object, old: Object, subresource: str) -> None:
        """Subresources that only this resource has."""
        raise NotImplementedError(subresource)

    def observed(self, obj: Object) -> Any:
        """The part whose changes generation counts."""
        return obj.get("spec")

    def grace_s(self, obj: Object, asked_s: int | None) -> int:
        """Seconds of grace for a deletion; most resources know none."""
        return 0

    def mark_terminating(self, obj: Object) -> None:
        """Called when a deletion has begun but the object stays for now."""

    def holders(self, obj: Object) -> Iterable[str]:
        """What keeps a deleted object: finalizers."""
        return obj["metadata"].get("finalizers") or ()

    def claims(self, obj: Object) -> Mapping[str, str]:
        """Cluster-wide values that the object holds: claim key -> path of the field."""
        return {}

    def assign(self, new: Object, old: Object | None, pick: Any) -> None:
        """Fill in values that have to be claimed; `pick(kind)` proposes a free one."""


def keep(new: Object, old: Object, part: str) -> None:
    """`part` of `new` becomes what it is in `old`, or goes if it is not there."""
    if part in old:
        new[part] = old[part]
    else:
        new.pop(part, None)


def keep_all_but_managers(new: Object, old: Object) -> None:
    """The metadata stays as it was; who manages which field does not."""
    managers = new["metadata"].get("managedFields")
    new["metadata"] = dict(old["metadata"])
    if managers is not None:
        new["metadata"]["managedFields"] = managers


def keep_system_metadata(new: Object, old: Object) -> None:
    """What only the server may write survives every update (rest.BeforeUpdate)."""
    for name in (
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "generateName",
    ):
        keep(new["metadata"], old["metadata"], name)


def fill_system_metadata(obj: Object, uid: str, now_s: float) -> None:
    """What every new object gets; what a client sent in its place is ignored."""
    metadata = obj["metadata"]
    for name in ("resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds"):
        metadata.pop(name, None)
    metadata.pop("generation", None)
    metadata["uid"] = uid
    metadata["creationTimestamp"] = meta.format_time(now_s)
