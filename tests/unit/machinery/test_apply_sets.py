"""Sets of fields: the algebra agrees with sets of paths, and their text with upstream's."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cluster.machinery.apply import elements, sets

ELEMENTS = st.sampled_from(
    ["f:a", "f:b", "f:c", 'k:{"name":"x"}', 'k:{"name":"y"}', "v:1", 'v:"s"']
)
PATHS = st.sets(st.lists(ELEMENTS, min_size=1, max_size=4).map(tuple), max_size=12)


def tree_of(paths: set[tuple[str, ...]]) -> sets.Tree:
    return sets.from_paths(iter(sorted(paths)))


def paths_of(tree: sets.Tree) -> set[tuple[str, ...]]:
    found = list(sets.paths(tree))
    assert len(found) == len(set(found))
    return set(found)


@given(PATHS)
def test_a_set_survives_its_text(paths: set[tuple[str, ...]]) -> None:
    tree = tree_of(paths)
    assert sets.is_valid(tree)
    assert paths_of(json.loads(json.dumps(tree))) == paths


@given(PATHS, PATHS)
def test_the_algebra_is_that_of_sets_of_paths(
    one: set[tuple[str, ...]], other: set[tuple[str, ...]]
) -> None:
    a, b = tree_of(one), tree_of(other)
    assert paths_of(sets.union(a, b)) == one | other
    assert paths_of(sets.difference(a, b)) == one - other
    assert paths_of(sets.intersection(a, b)) == one & other
    assert (paths_of(a), paths_of(b)) == (one, other), "inputs stay as they were"


@given(PATHS, PATHS)
def test_equal_sets_have_equal_trees(
    one: set[tuple[str, ...]], other: set[tuple[str, ...]]
) -> None:
    together = sets.union(tree_of(one), tree_of(other))
    assert together == tree_of(one | other)
    assert sets.difference(together, tree_of(other)) == tree_of(one - other)


def test_paths_read_as_upstream_prints_them() -> None:
    path = ["f:spec", "f:ports", 'k:{"containerPort":80,"protocol":"TCP"}', "f:name"]
    assert elements.display(path) == '.spec.ports[containerPort=80,protocol="TCP"].name'
    assert elements.display(["f:finalizers", 'v:"a/b"']) == '.finalizers[="a/b"]'


def test_trees_that_clients_send_are_checked() -> None:
    deep: Any = {}
    for _ in range(500):
        deep = {"f:a": deep}
    for wrong in ([], {"a": {}}, {"k:[1]": {}}, {"k:{": {}}, {"f:a": 1}, {".": {}}, deep):
        assert not sets.is_valid(wrong), wrong
    assert sets.is_valid({"f:a": {".": {}, "i:0": {}}})
