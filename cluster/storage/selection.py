"""Which objects a list or watch is about: namespace, name, labels, fields (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cluster.machinery.selectors import FieldRequirement, FieldSelector, LabelSelector
from cluster.storage.entry import Change, Entry, EventType


@dataclass(frozen=True)
class Selection:
    """`prefix` bounds the keys; a selector that is None matches everything."""

    prefix: str
    labels: LabelSelector | None = None
    fields: FieldSelector | None = None
    selective: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "selective", self.labels is not None or self.fields is not None)

    def matches(self, entry: Entry) -> bool:
        if self.labels is not None and not self.labels.matches(entry.labels):
            return False
        if self.fields is None:
            return True
        return all(_holds(r, entry) for r in self.fields.requirements)

    def chosen(self, changes: Iterable[Change]) -> list[tuple[EventType, Change]]:
        """Those that concern the selection, and how."""
        found = ((self.classify(change), change) for change in changes)
        return [(type_, change) for type_, change in found if type_ is not None]

    def classify(self, change: Change) -> EventType | None:
        """What the change is for this selection: leaving it is a deletion, entering a creation."""
        if not change.key.startswith(self.prefix):
            return None
        after = change.entry is not None and self.matches(change.entry)
        before = change.previous is not None and self.matches(change.previous)
        if after:
            return "MODIFIED" if before else "ADDED"
        return "DELETED" if before else None


def _holds(requirement: FieldRequirement, entry: Entry) -> bool:
    return (entry.fields.get(requirement.path, "") == requirement.value) == requirement.equal
