"""OpenAPI documents of several servers become one."""

from __future__ import annotations

from cluster.machinery import openapi

REF = "#/definitions/"


def document(path: str, **definitions: object) -> dict[str, object]:
    name = next(iter(definitions), "none")
    answer = {"description": "OK", "schema": {"$ref": REF + name}}
    item = {"get": {"responses": {"200": answer}, "produces": ["application/json"]}}
    return {"swagger": "2.0", "info": {"title": "t"}, "paths": {path: item},
            "definitions": dict(definitions)}  # fmt: skip


def test_only_what_lies_under_the_roots_is_taken_with_what_it_needs() -> None:
    given = document("/apis/g/v1/a", A={"properties": {"b": {"$ref": REF + "B"}}}, B={}, C={})
    given["paths"] |= {"/apis/g/v10/a": {}, "/healthz": {}}  # type: ignore[operator]
    found = openapi.trimmed(given, ["/apis/g/v1"])
    assert list(found["paths"]) == ["/apis/g/v1/a"]
    assert sorted(found["definitions"]) == ["A", "B"]


def test_definitions_of_one_name_that_differ_are_told_apart() -> None:
    own = document("/apis/a/v1", Same={"type": "object"}, Other={"type": "string"})
    more = document("/apis/b/v1", Other={"type": "integer"}, Same={"type": "object"})
    found = openapi.merged(own, [more])
    assert found["definitions"]["Other"] == {"type": "string"}
    assert found["definitions"]["Other_v2"] == {"type": "integer"}
    answer = found["paths"]["/apis/b/v1"]["get"]["responses"]["200"]
    assert answer["schema"]["$ref"] == REF + "Other_v2"
    assert sorted(found["definitions"]) == ["Other", "Other_v2", "Same"]


def test_types_of_kubernetes_itself_stay_ours() -> None:
    name = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    found = openapi.merged(document("/a", **{name: {"x": 1}}), [document("/b", **{name: {}})])
    assert found["definitions"] == {name: {"x": 1}}


def test_version_2_can_be_told_as_version_3() -> None:
    given = document("/apis/g/v1/a", A={"properties": {"b": {"$ref": REF + "A"}}})
    operation = given["paths"]["/apis/g/v1/a"]["get"]  # type: ignore[index]
    operation["parameters"] = [
        {"name": "limit", "in": "query", "type": "integer"},
        {"name": "body", "in": "body", "schema": {"$ref": REF + "A"}},
    ]
    found = openapi.upgraded(given)
    assert found["openapi"] == "3.0.0"
    schema = {"properties": {"b": {"$ref": "#/components/schemas/A"}}}
    assert found["components"]["schemas"] == {"A": schema}
    made = found["paths"]["/apis/g/v1/a"]["get"]
    limit = {"name": "limit", "in": "query", "schema": {"type": "integer"}}
    reference = {"$ref": "#/components/schemas/A"}
    assert made["parameters"] == [limit]
    assert made["requestBody"] == {"content": {"application/json": {"schema": reference}}}
    assert made["responses"]["200"]["content"] == {"application/json": {"schema": reference}}
