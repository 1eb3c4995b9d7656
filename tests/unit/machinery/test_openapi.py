"""OpenAPI documents: every reference resolves, and kubectl finds what it looks for."""

from typing import Any

import pytest

from cluster.machinery import openapi, resources, schema
from cluster.machinery.codec import wire

SERVED = [resource for resource in resources.ALL if resource.stable]
Document = dict[str, Any]


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


@pytest.fixture(scope="module")
def v2() -> Document:
    return openapi.v2_document(SERVED, "v1.34.0")


@pytest.fixture(scope="module")
def v3() -> dict[str, Document]:
    groups = openapi.paths_by_group_version(SERVED)
    return {path: openapi.v3_document(served, "v1.34.0") for path, served in groups.items()}


def test_every_reference_of_version_3_resolves_in_its_own_document(v3: dict[str, Document]) -> None:
    for path, document in v3.items():
        names = {f"#/components/schemas/{n}" for n in document["components"]["schemas"]}
        assert references(document) <= names, path


def test_every_reference_of_version_2_resolves(v2: Document) -> None:
    assert references(v2) <= {f"#/definitions/{name}" for name in v2["definitions"]}


def test_every_served_resource_has_a_path(v3: dict[str, Document]) -> None:
    for resource in SERVED:
        root = f"apis/{resource.api_version}" if resource.group else "api/v1"
        place = "/namespaces/{namespace}" if resource.namespaced else ""
        assert f"/{root}{place}/{resource.plural}" in v3[root]["paths"], resource.group_resource


def test_a_patch_says_that_fields_can_be_validated_and_merged_strategically(
    v3: dict[str, Document],
) -> None:
    item = v3["apis/apps/v1"]["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    patch = item["patch"]
    assert {"fieldValidation", "dryRun", "fieldManager"} <= {p["name"] for p in patch["parameters"]}
    assert "application/strategic-merge-patch+json" in patch["requestBody"]["content"]
    assert patch["x-kubernetes-action"] == "patch"
    assert patch["x-kubernetes-group-version-kind"] == {
        "group": "apps", "kind": "Deployment", "version": "v1",
    }  # fmt: skip


def test_lists_carry_the_markers_that_clients_merge_by(v2: Document) -> None:
    spec = v2["definitions"]["io.k8s.api.core.v1.PodSpec"]
    containers = spec["properties"]["containers"]
    assert containers["items"] == {"$ref": "#/definitions/io.k8s.api.core.v1.Container"}
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-patch-strategy"] == "merge"
    assert containers["x-kubernetes-list-map-keys"] == ["name"]
    pod = v2["definitions"]["io.k8s.api.core.v1.Pod"]["x-kubernetes-group-version-kind"]
    assert {"group": "", "kind": "Pod", "version": "v1"} in pod


def entries(data: bytes, number: int) -> list[bytes]:
    return [v for n, _, v in wire.fields(data) if n == number and isinstance(v, bytes)]


def test_the_protobuf_form_holds_every_definition_and_path(v2: Document) -> None:
    document = openapi.encode_v2_protobuf(v2)
    (definitions,) = entries(document, 9)
    names = [entries(named, 1)[0].decode() for named in entries(definitions, 1)]
    assert names == list(v2["definitions"])
    (paths,) = entries(document, 8)
    assert [entries(named, 1)[0].decode() for named in entries(paths, 2)] == list(v2["paths"])
    assert entries(document, 1) == [b"2.0"]


def test_the_protobuf_form_holds_types_and_references(v2: Document) -> None:
    document = openapi.encode_v2_protobuf(v2)
    (definitions,) = entries(document, 9)
    schemas = {entries(n, 1)[0].decode(): entries(n, 2)[0] for n in entries(definitions, 1)}
    pod = schemas["io.k8s.api.core.v1.Pod"]
    assert entries(entries(pod, 22)[0], 1) == [b"object"]
    (properties,) = entries(pod, 25)
    fields = {entries(n, 1)[0].decode(): entries(n, 2)[0] for n in entries(properties, 1)}
    assert set(fields) == set(schema.definition("k8s.io.api.core.v1.Pod").fields)
    assert entries(fields["spec"], 1) == [b"#/definitions/io.k8s.api.core.v1.PodSpec"]
