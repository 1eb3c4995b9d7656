"""Server-side apply: what is applied is owned and there; what is dropped and unowned is gone."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.machinery.apply import (
    BUILTIN,
    ApplyConflict,
    Writer,
    applied,
    custom,
    sets,
    settle,
    tracked,
    walking,
)
from cluster.machinery.apply.schema import MapType

VERSION, KIND = "test.example.com/v1", "Thing"
TEXT = {"type": "string"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "one": TEXT,
                "two": TEXT,
                "atoms": {"type": "array", "items": TEXT},
                "tags": {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"},
                "labels": {"type": "object", "additionalProperties": TEXT},
                "whole": {
                    "type": "object",
                    "x-kubernetes-map-type": "atomic",
                    "additionalProperties": TEXT,
                },
                "parts": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object",
                        "properties": {"name": TEXT, "image": TEXT, "size": TEXT},
                    },
                },
                "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        }
    },
}
ROOT = custom.of_root(SCHEMA)


class Custom:
    def type_of(self, api_version: str, kind: str) -> MapType | None:
        return ROOT if api_version == VERSION else None

    def convert(self, obj: dict[str, Any], api_version: str) -> dict[str, Any]:
        raise AssertionError("one version only")


CUSTOM = Custom()

WORDS = st.sampled_from(["a", "b", "c", "d"])
NAMES = st.lists(WORDS, unique=True, max_size=3)
PART = st.fixed_dictionaries({}, optional={"image": WORDS, "size": WORDS})
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "one": WORDS,
        "two": WORDS,
        "atoms": st.lists(WORDS, min_size=1, max_size=3),
        "tags": st.lists(WORDS, unique=True, min_size=1, max_size=3),
        "labels": st.dictionaries(WORDS, WORDS, min_size=1, max_size=3),
        "whole": st.dictionaries(WORDS, WORDS, min_size=1, max_size=3),
        "parts": st.dictionaries(WORDS, PART, min_size=1, max_size=3).map(
            lambda found: [{"name": name, **part} for name, part in found.items()]
        ),
        "open": st.dictionaries(
            WORDS, WORDS | st.dictionaries(WORDS, WORDS, min_size=1, max_size=2), min_size=1,
            max_size=2
        ),
    },
)  # fmt: skip


def thing(spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": VERSION, "kind": KIND, "metadata": {"name": "t"}, "spec": spec}


def writer(name: str, time: str = "2026-01-01T00:00:00Z") -> Writer:
    return Writer(name, VERSION, time)


def put(live: Any, spec: dict[str, Any], name: str, *, force: bool = True) -> dict[str, Any]:
    return applied(live, thing(spec), writer(name), CUSTOM, force=force)


def update(live: dict[str, Any], spec: dict[str, Any], name: str) -> dict[str, Any]:
    new = copy.deepcopy(live) | {"spec": spec}
    new["metadata"]["managedFields"] = tracked(live, new, writer(name), CUSTOM)
    return new


def owned(obj: dict[str, Any], name: str, operation: str = "Apply") -> set[tuple[str, ...]]:
    for entry in obj["metadata"].get("managedFields") or []:
        if (entry["manager"], entry["operation"]) == (name, operation):
            return set(sets.paths(entry["fieldsV1"]))
    return set()


def said(spec: dict[str, Any]) -> set[tuple[str, ...]]:
    return set(sets.paths(walking.fields_of({"spec": spec}, ROOT)))


def present(obj: dict[str, Any]) -> set[tuple[str, ...]]:
    return set(sets.paths(walking.added({"spec": obj["spec"]}, ROOT))) - {(".",)}


@given(SPECS, SPECS)
def test_apply_is_idempotent(live: dict[str, Any], spec: dict[str, Any]) -> None:
    once = put(put(None, live, "other"), spec, "me")
    again = applied(once, thing(spec), writer("me", "2027-01-01T00:00:00Z"), CUSTOM, force=False)
    assert again == once


@given(SPECS, SPECS, SPECS)
def test_what_is_applied_is_there_and_owned(
    live: dict[str, Any], earlier: dict[str, Any], spec: dict[str, Any]
) -> None:
    start = put(put(None, live, "other"), earlier, "me")
    before = copy.deepcopy(start)
    after = put(start, spec, "me")
    assert start == before, "the live object is not changed in place"
    assert owned(after, "me") == said(spec)
    assert said(spec) <= present(after)
    changed, _ = walking.compare(
        after["spec"], _merged_onto(after["spec"], spec), ROOT.fields["spec"]
    )  # type: ignore[arg-type]
    assert not changed, "every value is the applied one"


def _merged_onto(live: dict[str, Any], spec: dict[str, Any]) -> Any:
    from cluster.machinery.apply.merging import merge

    return merge(live, spec, ROOT.fields["spec"])


@given(SPECS, SPECS)
def test_what_an_only_applier_drops_is_gone(earlier: dict[str, Any], spec: dict[str, Any]) -> None:
    after = put(put(None, earlier, "me"), spec, "me")
    gone = said(earlier) - said(spec)
    assert not {p for p in gone if p in present(after) and not _holds(p, said(spec))}


def _holds(path: tuple[str, ...], among: set[tuple[str, ...]]) -> bool:
    return any(other[: len(path)] == path for other in among)


@given(SPECS, SPECS, SPECS)
def test_what_another_applier_owns_stays_when_one_drops_it(
    mine: dict[str, Any], theirs: dict[str, Any], spec: dict[str, Any]
) -> None:
    start = put(put(None, mine, "me"), theirs, "other")
    kept = owned(start, "other")
    after = put(start, spec, "me")
    still = owned(after, "other")
    assert still <= present(after)
    assert kept - still <= _changed_paths(start, after)


def _changed_paths(old: dict[str, Any], new: dict[str, Any]) -> set[tuple[str, ...]]:
    changed, removed = walking.compare({"spec": old["spec"]}, {"spec": new["spec"]}, ROOT)
    return set(sets.paths(changed)) | set(sets.paths(removed))


@given(SPECS, SPECS, SPECS)
def test_without_force_nothing_that_others_own_changes(
    mine: dict[str, Any], theirs: dict[str, Any], spec: dict[str, Any]
) -> None:
    start = put(put(None, mine, "me"), theirs, "other")
    try:
        after = put(start, spec, "me", force=False)
    except ApplyConflict as error:
        fought = {c.path for c in error.conflicts}
        assert fought
        assert fought <= owned(start, "other")
        return
    changed, _ = walking.compare({"spec": start["spec"]}, {"spec": after["spec"]}, ROOT)
    assert not set(sets.paths(changed)) & owned(start, "other")


def _without(spec: Any, other: Any) -> Any:
    """What of a spec has no leaf in common with another one."""
    kept: dict[str, Any] = {}
    for name, value in spec.items():
        if name == "parts":
            rest = _parts_without(value, other.get(name, []))
        elif name == "tags":
            rest = [tag for tag in value if tag not in other.get(name, [])]
        elif name in ("labels", "open"):
            rest = {k: v for k, v in value.items() if k not in other.get(name, {})}
        else:
            rest = None if name in other else value
        if rest:
            kept[name] = rest
    return kept


def _parts_without(parts: list[Any], others: list[Any]) -> list[Any]:
    """Both may own an item, but no field of it besides its key."""
    theirs = {part["name"]: set(part) - {"name"} for part in others}
    return [
        {key: value for key, value in part.items() if key not in theirs.get(part["name"], ())}
        for part in parts
    ]


def _unordered(spec: Any) -> Any:
    """Sets and lists that are maps have the order of who was first."""
    tags, parts = sorted(spec.get("tags", ())), spec.get("parts", ())
    return spec | {"tags": tags, "parts": sorted(parts, key=lambda part: str(part["name"]))}


@given(SPECS, SPECS)
def test_who_apply_disjoint_fields_may_come_in_any_order(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    two = _without(other, one)
    ahead = put(put(None, one, "one"), two, "two", force=False)
    after = put(put(None, two, "two"), one, "one", force=False)
    assert _unordered(ahead["spec"]) == _unordered(after["spec"])
    for name, spec in (("one", one), ("two", two)):
        assert owned(ahead, name) == owned(after, name) == said(spec)


@given(SPECS, SPECS)
def test_an_update_takes_what_it_changes_and_no_more(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    start = put(None, first, "me")
    after = update(start, second, "you")
    changed, removed = walking.compare({"spec": first}, {"spec": second}, ROOT)
    assert owned(after, "you", "Update") == set(sets.paths(changed))
    gone = set(sets.paths(changed)) | set(sets.paths(removed))
    assert owned(after, "me") == said(first) - gone


# --- an oracle: a flat map, with owners counted by hand ---

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["apply", "force", "update"]),
        st.sampled_from(["m1", "m2", "m3"]),
        st.dictionaries(WORDS, WORDS, max_size=4),
    ),
    max_size=12,
)


class Oracle:
    """Values and owners of a flat map; owners are (manager, how)."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.owners: dict[str, set[tuple[str, str]]] = {}

    def apply(self, name: str, wanted: dict[str, str], force: bool) -> bool:
        me = (name, "Apply")
        fought = [k for k, v in wanted.items() if k in self.values and self.values[k] != v]
        if not force and any(self.owners[k] - {me} for k in fought):
            return False
        for key, value in wanted.items():
            if self.values.get(key) != value:
                self.owners[key] = set()
            self.values[key] = value
            self.owners[key].add(me)
        for key in [k for k in self.values if k not in wanted and me in self.owners[k]]:
            self.owners[key].discard(me)
            if not self.owners[key]:
                del self.values[key], self.owners[key]
        return True

    def update(self, name: str, wanted: dict[str, str]) -> None:
        for key in [k for k in self.values if k not in wanted]:
            del self.values[key], self.owners[key]
        for key, value in wanted.items():
            if self.values.get(key) != value:
                self.values[key], self.owners[key] = value, {(name, "Update")}


@settings(max_examples=200)
@given(STEPS)
def test_merges_agree_with_an_oracle(steps: list[tuple[str, str, dict[str, str]]]) -> None:
    live = put(None, {"one": "kept"}, "keeper")
    oracle = Oracle()
    for action, name, wanted in steps:
        if action == "update":
            oracle.update(name, wanted)
            live = update(live, {"one": "kept", **({"labels": wanted} if wanted else {})}, name)
        else:
            spec = {"labels": wanted} if wanted else {}
            agreed = oracle.apply(name, wanted, action == "force")
            try:
                live = put(live, spec, name, force=action == "force")
            except ApplyConflict:
                assert not agreed
            else:
                assert agreed
        assert live["spec"].get("labels", {}) == oracle.values
        for key, owners in oracle.owners.items():
            path = ("f:spec", "f:labels", "f:" + key)
            for manager in ("m1", "m2", "m3"):
                for how in ("Apply", "Update"):
                    assert (path in owned(live, manager, how)) == ((manager, how) in owners)


# --- cases from upstream's documentation ---

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "d", "labels": {"a": "b"}},
    "spec": {
        "replicas": 3,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]},
        },
    },
}
APPS = Writer("applier", "apps/v1", "2026-01-01T00:00:00Z", ignored=frozenset({"status"}))


def changed(obj: Any, **spec: Any) -> Any:
    new = copy.deepcopy(obj)
    new["spec"] |= spec
    return new


def test_conflicts_read_as_upstream_writes_them() -> None:
    live = applied(None, DEPLOYMENT, APPS, BUILTIN, force=False)
    live["metadata"]["managedFields"] = tracked(
        live, new := changed(live, replicas=5), Writer("edit", "apps/v1", "t"), BUILTIN
    )
    new["metadata"]["managedFields"] = live["metadata"]["managedFields"]
    with pytest.raises(ApplyConflict) as caught:
        applied(new, DEPLOYMENT, APPS, BUILTIN, force=False)
    assert str(caught.value) == (
        'Apply failed with 1 conflict: conflict with "edit" using apps/v1: .spec.replicas'
    )
    assert caught.value.causes() == [(".spec.replicas", 'conflict with "edit" using apps/v1')]


def test_several_conflicts_are_listed_by_manager() -> None:
    live = applied(None, DEPLOYMENT, APPS, BUILTIN, force=False)
    other = changed(DEPLOYMENT, replicas=4)
    other["spec"]["template"]["spec"]["containers"][0]["image"] = "j"
    with pytest.raises(ApplyConflict) as caught:
        applied(live, other, Writer("two", "apps/v1", "t"), BUILTIN, force=False)
    assert str(caught.value) == (
        'Apply failed with 2 conflicts: conflicts with "applier":\n'
        '- .spec.replicas\n- .spec.template.spec.containers[name="c"].image'
    )


def test_a_port_without_a_protocol_is_keyed_as_tcp() -> None:
    live = applied(None, DEPLOYMENT, APPS, BUILTIN, force=False)
    assert 'k:{\\"containerPort\\":80,\\"protocol\\":\\"TCP\\"}' in json.dumps(
        live["metadata"]["managedFields"]
    )


def test_an_item_without_keys_and_a_repeated_one_are_refused() -> None:
    for containers in ([{"image": "i"}], [{"name": "c"}, {"name": "c"}]):
        wrong = copy.deepcopy(DEPLOYMENT)
        wrong["spec"]["template"]["spec"]["containers"] = containers
        with pytest.raises(ValueError, match=r"omits all key fields|duplicate entries"):
            applied(None, wrong, APPS, BUILTIN, force=False)


def test_items_keep_the_appliers_order_and_others_stay_behind_their_neighbours() -> None:
    live = put(None, {"parts": [{"name": n} for n in "axby"]}, "other")
    after = put(live, {"parts": [{"name": "b"}, {"name": "n"}, {"name": "a"}]}, "me")
    assert "".join(p["name"] for p in after["spec"]["parts"]) == "xbyna"


def test_before_the_first_apply_everything_belongs_to_who_came_before() -> None:
    live = thing({"one": "a", "two": "b"})
    with pytest.raises(ApplyConflict, match='"before-first-apply" using'):
        put(live, {"one": "c"}, "me", force=False)
    after = put(live, {"one": "a"}, "me", force=False)
    assert owned(after, "before-first-apply", "Update") == {
        ("f:spec", "f:one"),
        ("f:spec", "f:two"),
    }
    assert put(after, {}, "me")["spec"] == {"one": "a", "two": "b"}


def test_an_untracked_object_stays_untracked_until_it_is_applied() -> None:
    live = thing({"one": "a"})
    assert (
        "managedFields" not in update(live, {"one": "b"}, "you")["metadata"]
        or not update(live, {"one": "b"}, "you")["metadata"]["managedFields"]
    )


def test_a_client_resets_managed_fields_with_an_empty_entry() -> None:
    live = put(None, {"one": "a"}, "me")
    new = copy.deepcopy(live)
    new["metadata"]["managedFields"] = [{}]
    assert tracked(live, new, writer("you"), CUSTOM) == []


def test_unsound_managed_fields_of_a_client_are_replaced_by_the_live_ones() -> None:
    live = put(None, {"one": "a"}, "me")
    for wrong in ([{"operation": "Steal"}], ["x"], "x", [{"operation": "Apply", "fieldsV1": 1}]):
        new = copy.deepcopy(live)
        new["metadata"]["managedFields"] = wrong
        assert tracked(live, new, writer("you"), CUSTOM) == live["metadata"]["managedFields"]


def test_at_most_ten_updaters_are_remembered_by_name() -> None:
    live = put(None, {"one": "a"}, "me")
    for number in range(14):
        spec = live["spec"] | {"labels": {f"l{n}": "x" for n in range(number + 1)}}
        new = copy.deepcopy(live) | {"spec": spec}
        who = Writer(f"u{number}", VERSION, f"2026-01-01T00:00:{number:02}Z")
        new["metadata"]["managedFields"] = tracked(live, new, who, CUSTOM)
        live = new
    entries = live["metadata"]["managedFields"]
    updaters = [e["manager"] for e in entries if e["operation"] == "Update"]
    assert len(updaters) == 10
    assert updaters[0] == "ancient-changes"
    everything = set().union(*(set(sets.paths(e["fieldsV1"])) for e in entries))
    assert {("f:spec", "f:labels", f"f:l{n}") for n in range(14)} <= everything


def test_times_move_only_with_changes() -> None:
    live = put(None, {"one": "a"}, "me")
    later = applied(live, thing({"one": "a"}), writer("me", "2030-01-01T00:00:00Z"), CUSTOM,
                    force=False)  # fmt: skip
    assert later == live
    other = copy.deepcopy(live)
    other["metadata"]["managedFields"][0]["time"] = "2031-01-01T00:00:00Z"
    settle(other, live)
    assert other == live


def test_entries_of_versions_that_are_gone_are_dropped() -> None:
    live = put(None, {"one": "a"}, "me")
    live["metadata"]["managedFields"][0]["apiVersion"] = "test.example.com/v0"
    after = update(live, {"one": "b"}, "you")
    assert [e["manager"] for e in after["metadata"]["managedFields"]] == ["you"]
