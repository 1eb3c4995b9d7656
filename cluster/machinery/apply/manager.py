"""The two ways in which a write changes who owns what: updates take, appliers ask first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cluster.machinery.apply import elements, managers, sets
from cluster.machinery.apply.managers import APPLY, UPDATE, Entry
from cluster.machinery.apply.merging import merge, prune
from cluster.machinery.apply.schema import MapType, Object, Versions
from cluster.machinery.apply.sets import Tree
from cluster.machinery.apply.walking import compare, fields_of

BEFORE_FIRST_APPLY = "before-first-apply"
_SYSTEM = frozenset(
    {"name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation",
     "managedFields", "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds"}
)  # fmt: skip
"""Metadata that is nobody's to own."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, through which version and subresource, and when (RFC 3339).

    `ignored`: top-level parts that such a write does not change. `parts` and `metadata`: if
    given, the only parts, and the only fields of metadata, that it does change.
    """

    manager: str
    api_version: str
    time: str
    subresource: str = ""
    ignored: frozenset[str] = frozenset()
    parts: frozenset[str] | None = None
    metadata: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """A field that somebody else owns with another value."""

    entry: Entry
    path: tuple[str, ...]

    @property
    def field(self) -> str:
        return elements.display(self.path)


class ApplyConflict(Exception):
    """An apply without force would change what others own."""

    def __init__(self, conflicts: Sequence[Conflict]) -> None:
        self.conflicts = tuple(sorted(conflicts, key=lambda c: (_shown(c.entry), c.field)))
        super().__init__(_summary(self.conflicts))

    def causes(self) -> list[tuple[str, str]]:
        """(field, message) of each conflict."""
        return [(c.field, f"conflict with {_shown(c.entry)}") for c in self.conflicts]


def _shown(entry: Entry) -> str:
    text = f'"{entry.get("manager", "")}"'
    if entry.get("subresource"):
        text += f' with subresource "{entry["subresource"]}"'
    return f"{text} using {entry['apiVersion']}" if entry["operation"] == UPDATE else text


def _summary(conflicts: Sequence[Conflict]) -> str:
    if len(conflicts) == 1:
        only = conflicts[0]
        return f"Apply failed with 1 conflict: conflict with {_shown(only.entry)}: {only.field}"
    lines = []
    for name in dict.fromkeys(_shown(c.entry) for c in conflicts):
        lines.append(f"conflicts with {name}:")
        lines += [f"- {c.field}" for c in conflicts if _shown(c.entry) == name]
    return f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)


class _Differences:
    """What a write changes, as each version of the managers sees it; worked out once each."""

    def __init__(self, old: Object, new: Object, writer: Writer, versions: Versions) -> None:
        self._old, self._new, self._writer, self._versions = old, new, writer, versions
        self._known: dict[str, tuple[Tree, Tree] | None] = {}

    def of(self, api_version: str) -> tuple[Tree, Tree] | None:
        """(changed, removed); None for a version that is no more."""
        if api_version not in self._known:
            self._known[api_version] = self._compared(api_version)
        return self._known[api_version]

    def _compared(self, api_version: str) -> tuple[Tree, Tree] | None:
        kind = self._versions.type_of(api_version, self._new["kind"])
        if kind is None:
            return None
        old, new = self._old, self._new
        if api_version != self._writer.api_version:
            old = self._versions.convert(old, api_version) if old else old
            new = self._versions.convert(new, api_version)
        before, after = _ownable(old, self._writer), _ownable(new, self._writer)
        parts = _structs(kind, before.keys() | after.keys())
        return compare({**parts, **before}, {**parts, **after}, kind)


def _said(config: Object, writer: Writer, kind: MapType) -> Tree:
    """The set that a configuration asks to own."""
    fields = fields_of(_ownable(config, writer), kind)
    if not fields["f:metadata"]:  # nothing of it is anybody's to own
        del fields["f:metadata"]
    return fields


def _structs(kind: MapType, names: Iterable[str]) -> Object:
    """The top-level structs, empty: a typed object always has them, so nobody owns that."""
    return {
        name: {}
        for name in names
        if isinstance(below := kind.below(name), MapType) and below.fields
    }


def _ownable(obj: Object, writer: Writer) -> Object:
    """The parts of an object that the writer can own fields of."""
    wanted = obj.keys() if writer.parts is None else writer.parts & obj.keys()
    left_out = writer.ignored | {"apiVersion", "kind", "metadata"}
    found = {name: obj[name] for name in wanted if name not in left_out}
    shown, metadata = writer.metadata, obj.get("metadata") or {}
    left = {
        name: value
        for name, value in metadata.items()
        if name not in _SYSTEM and (shown is None or name in shown)
    }
    return {"metadata": left, **found}


def tracked(old: Object | None, new: Object, writer: Writer, versions: Versions) -> list[Entry]:
    """The managedFields after a create (`old` is None), an update or a patch.

    The writer owns what it changed; others lose that, and what is gone. An object that has no
    managedFields is not tracked before it is applied for the first time.
    """
    live = [] if old is None else old["metadata"].get("managedFields") or []
    asked = new["metadata"].get("managedFields")
    entries = live if writer.subresource else managers.sent(asked, live)
    if old is not None and not entries:
        return []
    differences = _Differences(old or {}, new, writer, versions)
    own = differences.of(writer.api_version)
    if own is None or not (own[0] or own[1]):
        return entries
    changed, removed = own
    mine = managers.entry(
        writer.manager, UPDATE, writer.api_version, writer.time, changed, writer.subresource
    )
    kept = []
    for each in entries:
        if managers.identity(each) == managers.identity(mine):
            held = sets.difference(each["fieldsV1"], removed)
            if not changed:
                mine["time"] = each.get("time", writer.time)
            mine["fieldsV1"] = sets.union(held, changed)
        else:
            kept += _without(each, differences)
    return managers.arranged([*kept, mine])


def _without(entry: Entry, differences: _Differences) -> list[Entry]:
    """What is left to a manager when somebody else has written."""
    found = differences.of(entry.get("apiVersion", ""))
    if found is None:
        return []
    left = sets.difference(sets.difference(entry["fieldsV1"], found[0]), found[1])
    return [managers.with_fields(entry, left)]


def applied(
    live: Object | None, config: Object, writer: Writer, versions: Versions, *, force: bool
) -> Object:
    """The object after an apply, with its managedFields. Raises ApplyConflict, ValueError.

    ValueError: the configuration has a list with items that have no key, or the same one twice.
    """
    kind = versions.type_of(writer.api_version, config["kind"])
    assert kind is not None
    old = live or {}
    entries = _entries_before(live, writer, kind)
    fields = _said(config, writer, kind)
    mine = managers.entry(
        writer.manager, APPLY, writer.api_version, writer.time, fields, writer.subresource
    )
    last = next((e for e in entries if managers.identity(e) == managers.identity(mine)), None)
    others = [each for each in entries if each is not last]
    new = merge(_bare(old), config, kind)
    if last is not None and last["fieldsV1"]:
        new = merge(_pruned(new, last, [*others, mine], versions), config, kind)
    differences = _Differences(old, new, writer, versions)
    if not force:
        conflicts = [c for each in others for c in _conflicts(each, differences)]
        if conflicts:
            raise ApplyConflict(conflicts)
    same = last is not None and last["fieldsV1"] == fields
    if last is not None and same and not any(differences.of(writer.api_version) or ()):
        mine["time"] = last.get("time", writer.time)
    kept = [left for each in others for left in _without(each, differences)]
    metadata = {**(new.get("metadata") or {}), "managedFields": managers.arranged([*kept, mine])}
    return {**new, "metadata": metadata}


def last_applied(
    error: ApplyConflict, live: Object, annotated: Object, writer: Writer, versions: Versions
) -> bool:
    """Whether all conflicts are about fields that client-side apply set, and that still stand.

    `annotated`: the object that client-side apply wrote into its annotation. kubectl may then
    take these fields over (upstream's migration to server-side apply).
    """
    kind = versions.type_of(writer.api_version, live["kind"])
    if kind is None or annotated.get("apiVersion") != writer.api_version:
        return False
    ours, theirs = _ownable(annotated, writer), _ownable(live, writer)
    standing = _said(annotated, writer, kind)
    for differing in compare(ours, theirs, kind):
        standing = sets.difference(standing, differing)
    conflicting = sets.from_paths(conflict.path for conflict in error.conflicts)
    return not sets.difference(conflicting, standing)


def _entries_before(live: Object | None, writer: Writer, kind: MapType) -> list[Entry]:
    """An object that was not tracked so far belongs to whoever came before."""
    if live is None:
        return []
    entries: list[Entry] = live["metadata"].get("managedFields") or []
    if entries:
        return entries
    everything = _ownable(live, Writer(BEFORE_FIRST_APPLY, writer.api_version, writer.time))
    fields, _ = compare(_structs(kind, everything), everything, kind)
    version, time = writer.api_version, writer.time
    return [managers.entry(BEFORE_FIRST_APPLY, UPDATE, version, time, fields)]


def _bare(obj: Object) -> Object:
    if "metadata" not in obj:
        return obj
    metadata = {k: v for k, v in obj["metadata"].items() if k != "managedFields"}
    return {**obj, "metadata": metadata}


def _pruned(new: Object, last: Entry, entries: Iterable[Entry], versions: Versions) -> Object:
    """In the version that the applier used last: its set is in terms of that."""
    version, own = last["apiVersion"], new["apiVersion"]
    kind = versions.type_of(version, new["kind"])
    if kind is None:
        return new
    owned: Tree = {}
    for each in entries:
        if each.get("apiVersion") == version:
            owned = sets.union(owned, each["fieldsV1"])
    if own == version:
        return prune(new, last["fieldsV1"], owned, kind)
    elsewhere = versions.convert(new, version)
    return versions.convert(prune(elsewhere, last["fieldsV1"], owned, kind), own)


def _conflicts(entry: Entry, differences: _Differences) -> Iterator[Conflict]:
    found = differences.of(entry.get("apiVersion", ""))
    if found is not None:
        for path in sets.paths(sets.intersection(entry["fieldsV1"], found[0])):
            yield Conflict(entry, path)
