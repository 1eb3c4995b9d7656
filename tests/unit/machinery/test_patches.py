"""JSON patch (against the jsonpatch library), merge patch and strategic merge patch."""

import copy
from typing import Any

import jsonpatch
import jsonpointer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.machinery.errors import PatchError, PatchTestFailed
from cluster.machinery.patch import json_patch, merge_patch, ordering, strategic

POD = "k8s.io.api.core.v1.Pod"
POD_SPEC = "k8s.io.api.core.v1.PodSpec"
META = "k8s.io.apimachinery.pkg.apis.meta.v1.ObjectMeta"
DEPLOYMENT = "k8s.io.api.apps.v1.Deployment"

scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "x"])
values = st.recursive(
    scalars,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from("ab~/"), v, max_size=3),
    max_leaves=8,
)
pointers = st.lists(
    st.sampled_from(["a", "b", "0", "1", "2", "-", "~0", "~1", "c"]), max_size=3
).map(lambda steps: "".join("/" + s for s in steps))
operations = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
     "path": pointers, "from": pointers, "value": values}
)  # fmt: skip


def reference(doc: Any, ops: list[dict[str, Any]]) -> Any:
    """What the jsonpatch library answers; None-like marker for a refusal."""
    try:
        return ("ok", jsonpatch.apply_patch(copy.deepcopy(doc), copy.deepcopy(ops)))
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, IndexError):
        return ("refused", None)


@settings(max_examples=400)
@given(values, st.lists(operations, min_size=1, max_size=3))
def test_json_patch_agrees_with_the_jsonpatch_library(doc: Any, ops: list[dict[str, Any]]) -> None:
    before = copy.deepcopy((doc, ops))
    verdict, expected = reference(doc, ops)
    try:
        result = json_patch.apply(doc, ops)
    except PatchError:
        # Stricter by intent: true is not 1 in a test, nothing moves into itself, the whole
        # document is not removed, and `-` names no element.
        stricter = any(op["op"] in ("test", "move", "remove") or "-" in op["path"] for op in ops)
        assert verdict == "refused" or stricter
    else:
        assert verdict == "ok" or any("-" in op["from"] or op["path"] == "" for op in ops)
        if verdict == "ok":
            assert result == expected
    assert (doc, ops) == before


@pytest.mark.parametrize(
    ("op", "result"),
    [
        ({"op": "add", "path": "/l/-", "value": 9}, {"l": [1, 2, 9], "m": {"a/b": 1}}),
        ({"op": "add", "path": "/l/0", "value": 9}, {"l": [9, 1, 2], "m": {"a/b": 1}}),
        ({"op": "remove", "path": "/m/a~1b"}, {"l": [1, 2], "m": {}}),
        ({"op": "replace", "path": "/l/1", "value": None}, {"l": [1, None], "m": {"a/b": 1}}),
        ({"op": "move", "from": "/l", "path": "/m/l"}, {"m": {"a/b": 1, "l": [1, 2]}}),
        ({"op": "copy", "from": "/l/0", "path": "/l/2"}, {"l": [1, 2, 1], "m": {"a/b": 1}}),
        ({"op": "test", "path": "/l", "value": [1, 2]}, {"l": [1, 2], "m": {"a/b": 1}}),
    ],
)
def test_each_operation_of_a_json_patch(op: dict[str, Any], result: Any) -> None:
    assert json_patch.apply({"l": [1, 2], "m": {"a/b": 1}}, [op]) == result


@pytest.mark.parametrize(
    "op",
    [
        {"op": "remove", "path": "/x"}, {"op": "replace", "path": "/x", "value": 1},
        {"op": "add", "path": "/l/5", "value": 1}, {"op": "add", "path": "/x/y", "value": 1},
        {"op": "add", "path": "/x"}, {"op": "jump", "path": "/l"}, {"op": "add", "value": 1},
        {"op": "remove", "path": "/l/01"}, {"op": "remove", "path": "l"}, "remove",
        {"op": "copy", "path": "/x"}, {"op": "move", "from": "/m", "path": "/m/x"},
    ],
)  # fmt: skip
def test_an_impossible_json_patch_is_refused(op: Any) -> None:
    with pytest.raises(PatchError):
        json_patch.apply({"l": [1, 2], "m": {}}, [op])


def test_a_failed_test_operation_is_its_own_error() -> None:
    with pytest.raises(PatchTestFailed):
        json_patch.apply({"a": 1}, [{"op": "test", "path": "/a", "value": True}])


def test_a_patch_that_copies_itself_large_is_refused() -> None:
    ops = [{"op": "copy", "from": "/a", "path": f"/a/x{i}"} for i in range(60)]
    with pytest.raises(PatchError, match="too much"):
        json_patch.apply({"a": {"b": "c" * 100}}, ops)


@pytest.mark.parametrize(  # the test cases of RFC 7396, appendix A
    ("doc", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}), ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}), ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}), ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}), (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]), ({"a": "foo"}, None, None), ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}), ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)  # fmt: skip
def test_merge_patch_follows_the_rfc(doc: Any, patch: Any, result: Any) -> None:
    before = copy.deepcopy((doc, patch))
    assert merge_patch.apply(doc, patch) == result
    assert (doc, patch) == before


def containers(*names: str) -> list[dict[str, Any]]:
    return [{"name": name} for name in names]


@pytest.mark.parametrize(
    ("type_name", "doc", "patch", "result"),
    [
        # lists of maps merge by their key; new ones come first, as the patch decides
        (POD_SPEC, {"containers": [{"name": "a", "image": "1"}, {"name": "b"}]},
         {"containers": [{"name": "a", "image": "2"}, {"name": "c"}]},
         {"containers": [{"name": "a", "image": "2"}, {"name": "c"}, {"name": "b"}]}),
        # the patch decides the order of its items, the server of the rest
        (POD_SPEC, {"containers": containers("a", "b", "c")},
         {"containers": containers("c", "a")}, {"containers": containers("b", "c", "a")}),
        # delete one, delete an absent one
        (POD_SPEC, {"containers": containers("a", "b")},
         {"containers": [{"name": "a", "$patch": "delete"}, {"name": "z", "$patch": "delete"}]},
         {"containers": containers("b")}),
        # replace a list, replace a map, delete a map
        (POD_SPEC, {"containers": containers("a", "b")},
         {"containers": [{"$patch": "replace"}, {"name": "z"}]}, {"containers": containers("z")}),
        (POD_SPEC, {"nodeSelector": {"a": "b"}},
         {"nodeSelector": {"$patch": "replace", "c": "d"}}, {"nodeSelector": {"c": "d"}}),
        (POD_SPEC, {"nodeSelector": {"a": "b"}}, {"nodeSelector": {"$patch": "delete"}},
         {"nodeSelector": {}}),
        (POD_SPEC, {"nodeSelector": {"a": "b"}}, {"nodeSelector": {"$patch": "merge", "c": "d"}},
         {"nodeSelector": {"a": "b", "c": "d"}}),
        # an order for the whole list, with and without content
        (POD_SPEC, {"containers": containers("a", "b", "c")},
         {"$setElementOrder/containers": containers("c", "b", "a")},
         {"containers": containers("c", "b", "a")}),
        (POD_SPEC, {"containers": containers("a", "s", "b")},
         {"$setElementOrder/containers": containers("b", "n", "a"), "containers": containers("n")},
         {"containers": containers("s", "b", "n", "a")}),
        # lists without a strategy are replaced
        (POD_SPEC, {"containers": [{"name": "a", "args": ["1", "2"]}]},
         {"containers": [{"name": "a", "args": ["3"]}]},
         {"containers": [{"name": "a", "args": ["3"]}]}),
        (POD_SPEC, {"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}]},
         {"tolerations": [{"key": "b"}]}),
        # primitive lists: union, deletion, order
        (META, {"finalizers": ["a", "b"]}, {"finalizers": ["c", "a"]},
         {"finalizers": ["c", "a", "b"]}),
        (META, {"finalizers": ["a", "b"]}, {"$deleteFromPrimitiveList/finalizers": ["a", "x"]},
         {"finalizers": ["b"]}),
        (META, {"finalizers": ["a", "b"]},
         {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"],
          "$setElementOrder/finalizers": ["c", "b"]}, {"finalizers": ["c", "b"]}),
        # retainKeys, as kubectl sends it for strategies
        (DEPLOYMENT, {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {}}}},
         {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}},
         {"spec": {"strategy": {"type": "Recreate"}}}),
        # nested: env of a container of a template
        (DEPLOYMENT, {"spec": {"template": {"spec": {"containers": [
            {"name": "c", "env": [{"name": "A", "value": "1"}]}]}}}},
         {"spec": {"template": {"spec": {"containers": [
             {"name": "c", "env": [{"name": "B", "value": "2"}]}]}}}},
         {"spec": {"template": {"spec": {"containers": [{"name": "c", "env": [
             {"name": "B", "value": "2"}, {"name": "A", "value": "1"}]}]}}}}),
        # null deletes, and is dropped from what is new
        (POD, {"metadata": {"labels": {"a": "b", "c": "d"}}},
         {"metadata": {"labels": {"a": None}, "annotations": {"x": None, "y": "z"}}},
         {"metadata": {"labels": {"c": "d"}, "annotations": {"y": "z"}}}),
        # the merge key of ports is the container port alone
        (POD_SPEC, {"containers": [{"name": "a", "ports": [{"containerPort": 80}]}]},
         {"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "w"}]}]},
         {"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "w"}]}]}),
    ],
)  # fmt: skip
def test_strategic_merge(
    type_name: str, doc: dict[str, Any], patch: dict[str, Any], result: Any
) -> None:
    before = copy.deepcopy((doc, patch))
    assert strategic.apply(doc, patch, type_name) == result
    assert (doc, patch) == before


@pytest.mark.parametrize(
    "patch",
    [
        {"containers": [{"image": "x"}]}, {"containers": ["x"]}, {"$patch": "jump"},
        {"containers": [{"name": "a", "$patch": "merge"}]}, {"$retainKeys": ["a"], "b": 1},
        {"$setElementOrder/containers": "x"}, {"$deleteFromPrimitiveList/x": {}},
        {"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "c"}]},
        {"containers": [{"$patch": "delete"}]},
    ],
)  # fmt: skip
def test_an_impossible_strategic_patch_is_refused(patch: dict[str, Any]) -> None:
    with pytest.raises(PatchError):
        strategic.apply({"containers": containers("a")}, patch, POD_SPEC)


@given(st.lists(st.integers(0, 9), unique=True), st.lists(st.integers(0, 9), unique=True))
def test_interleaving_keeps_both_orders(server: list[int], wanted: list[int]) -> None:
    merged = server + [item for item in wanted if item not in server]
    result = ordering.interleave(merged, server, wanted, lambda item: item)
    assert sorted(result) == sorted(merged)
    assert [item for item in result if item in wanted] == wanted
    rest = [item for item in server if item not in wanted]
    assert [item for item in result if item not in wanted] == rest
