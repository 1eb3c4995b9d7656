"""The OpenAPI documents of everything that is built in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cluster.machinery import openapi
from cluster.storage.strategies import table

SERVED = table.served()


@pytest.fixture(scope="module")
def v3() -> dict[str, Any]:
    """All documents of version 3 in one."""
    whole: dict[str, Any] = {"paths": {}, "components": {"schemas": {}}}
    for resources in openapi.paths_by_group_version(SERVED).values():
        part = openapi.v3_document(resources, "v1")
        missing = set(references(part)) - part["components"]["schemas"].keys()
        assert not missing, "each document must stand alone"
        whole["paths"] |= part["paths"]
        whole["components"]["schemas"] |= part["components"]["schemas"]
    return whole


@pytest.fixture(scope="module")
def v2() -> dict[str, Any]:
    return openapi.v2_document(SERVED, "v1")


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key == "$ref" and isinstance(each, str):
                yield each.rpartition("/")[2]
            else:
                yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


EITHER = [f"io.k8s.apimachinery.pkg.{name}" for name in ("api.resource.Quantity",
                                                         "util.intstr.IntOrString")]  # fmt: skip
"""Types of two JSON types, of which version 2 can say only one."""


def plain(value: Any) -> Any:
    """With references beside other words, as version 2 has them."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {key: plain(each) for key, each in value.items()}
    if isinstance(value.get("allOf"), list):  # a property may be called that, too
        found |= found.pop("allOf")[0]
    return found


def test_both_versions_have_the_same_schemas_and_paths(
    v2: dict[str, Any], v3: dict[str, Any]
) -> None:
    upgraded = openapi.upgraded({**v2, "paths": {}})["components"]["schemas"]
    found = {name: plain(each) for name, each in v3["components"]["schemas"].items()}
    for name in EITHER:
        assert upgraded.pop(name)["type"] == "string"
        assert {"type": "string"} in found.pop(name)["oneOf"]
    assert upgraded == found
    assert v2["paths"].keys() == v3["paths"].keys()
    for path, item in v2["paths"].items():
        operations = {n: o["operationId"] for n, o in item.items() if n != "parameters"}
        other = v3["paths"][path]
        assert operations == {n: o["operationId"] for n, o in other.items() if n != "parameters"}


def test_every_reference_leads_somewhere(v2: dict[str, Any]) -> None:
    assert set(references(v2)) <= v2["definitions"].keys()


def test_every_operation_says_what_it_does_to_what(v3: dict[str, Any]) -> None:
    seen = set()
    for item in v3["paths"].values():
        for name, operation in item.items():
            if name != "parameters":
                assert operation["x-kubernetes-action"]
                assert operation["x-kubernetes-group-version-kind"]["kind"]
                seen.add(operation["operationId"])
    count = sum(name != "parameters" for item in v3["paths"].values() for name in item)
    assert len(seen) == count, "operation ids are unique"


def test_lists_say_how_they_merge(v3: dict[str, Any]) -> None:
    spec = v3["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]
    containers = spec["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-list-map-keys"] == ["name"]
    assert containers["x-kubernetes-list-type"] == "map"
