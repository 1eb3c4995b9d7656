"""Answers in protobuf, for clients that accept nothing else: objects, lists, errors, watches."""

from __future__ import annotations

import http.client
import importlib.util
import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from object_samples import SAMPLES, path_of

from cluster.apiserver.negotiation import PROTOBUF
from cluster.machinery import resources, schema
from cluster.machinery.codec import protobuf, wire

_spec = importlib.util.spec_from_file_location(
    "api_fixture", Path(__file__).parents[1] / "unit/apiserver/api_fixture.py"
)
assert _spec is not None
assert _spec.loader is not None
api_fixture = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(api_fixture)

MAPS = "/api/v1/namespaces/default/configmaps"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
THINGS = "/apis/example.com/v1/things"
PARTIAL = f"{PROTOBUF};as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PARTIAL_LIST = f"{PROTOBUF};as=PartialObjectMetadataList;v=%s;g=meta.k8s.io"
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Cluster",
        "names": {"plural": "things", "kind": "Thing"},
        "versions": [{
            "name": "v1", "served": True, "storage": True,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": {"replicas": {"type": "integer"}}}}}},
            "subresources": {"scale": {
                "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
        }],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    running = api_fixture.RunningApi(tmp_path_factory.mktemp("api"))
    yield running
    running.close()


def ask(
    api: Any, method: str, path: str, obj: Any = None, accept: str = PROTOBUF
) -> tuple[int, str, bytes]:
    """(status, content type, body); `obj` is sent as protobuf too, if it can be."""
    custom = obj is not None and obj["kind"] == "Thing"
    body = None if obj is None else json.dumps(obj).encode() if custom else protobuf.encode(obj)
    headers = {"Accept": accept, "Content-Type": "application/json" if custom else PROTOBUF}
    status, answered, data = api.raw(method, path, body, headers)
    return status, answered["content-type"], data


def decoded(api: Any, method: str, path: str, obj: Any = None) -> tuple[int, Any]:
    status, content_type, data = ask(api, method, path, obj)
    assert content_type == PROTOBUF
    return status, protobuf.decode(data)


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def normal(value: Any) -> Any:
    """Without what protobuf cannot tell from what is left out: zeros, null and empty lists."""
    if isinstance(value, dict):
        return {k: n for k, v in value.items() if (n := normal(v)) not in (None, "", 0, [], {})}
    return [normal(each) for each in value] if isinstance(value, list) else value


def message(data: bytes) -> tuple[dict[str, str], dict[int, list[bytes]]]:
    """(TypeMeta, fields) of an envelope whose kind the schema does not know."""
    parts = {n: v for n, _, v in wire.fields(data.removeprefix(protobuf.MAGIC))}
    texts = [v.decode() for _, _, v in wire.fields(parts[1])]
    fields: dict[int, list[bytes]] = {}
    for number, _, value in wire.fields(parts[2]):
        fields.setdefault(number, []).append(value)
    return dict(zip(("apiVersion", "kind"), texts, strict=True)), fields


def metadata(data: bytes, of: str = schema.OBJECT_META) -> dict[str, Any]:
    return protobuf.decode_message(data, of)


# -- objects and lists ------------------------------------------------------------------------


@pytest.mark.parametrize("key", SAMPLES)
def test_every_stored_kind_is_created_and_read_in_protobuf(api: Any, key: str) -> None:
    sample, resource = yaml.safe_load(SAMPLES[key][0]), resources.find(key)
    path = path_of(key, sample["metadata"]["name"])
    collection = path.rpartition("/")[0]
    code, made = decoded(api, "POST", collection, sample)
    assert code == 201, made
    as_json = api.json("GET", path)[1]
    found = decoded(api, "GET", path)[1]
    assert (found["apiVersion"], found["kind"]) == (resource.api_version, resource.kind)
    assert found == as_json
    listed, list_json = decoded(api, "GET", collection)[1], api.json("GET", collection)[1]
    assert listed["kind"] == resource.list_kind
    for item in list_json["items"]:  # lists in protobuf leave out what every item would repeat
        del item["apiVersion"], item["kind"]
    assert normal(listed["items"]) == normal(list_json["items"])
    assert listed["metadata"]["resourceVersion"].isdigit()


def test_a_definition_is_read_in_protobuf(api: Any) -> None:
    assert api.json("POST", DEFINITIONS, DEFINITION)[0] == 201
    found = decoded(api, "GET", f"{DEFINITIONS}/things.example.com")[1]
    assert found["spec"]["versions"][0]["schema"] == DEFINITION["spec"]["versions"][0]["schema"]  # type: ignore[index]


def test_writes_are_answered_in_protobuf(api: Any) -> None:
    assert decoded(api, "POST", MAPS, config_map("written", a="1"))[0] == 201
    code, found = decoded(api, "PUT", f"{MAPS}/written", config_map("written", a="2"))
    assert (code, found["data"]) == (200, {"a": "2"})
    headers = {"Accept": PROTOBUF, "Content-Type": "application/merge-patch+json"}
    _, _, data = api.raw("PATCH", f"{MAPS}/written", b'{"data":{"a":"3"}}', headers)
    assert protobuf.decode(data)["data"] == {"a": "3"}
    code, gone = decoded(api, "DELETE", f"{MAPS}/written")
    assert (code, gone["kind"], gone["status"]) == (200, "Status", "Success")


def test_subresources_and_reviews_are_answered_in_protobuf(api: Any) -> None:
    sample = yaml.safe_load(SAMPLES["apps/v1/deployments"][0])
    sample["metadata"]["name"], sample["spec"]["replicas"] = "scaled", 3
    path = path_of("apps/v1/deployments", "scaled")
    assert decoded(api, "POST", path.rpartition("/")[0], sample)[0] == 201
    scale = decoded(api, "GET", f"{path}/scale")[1]
    assert (scale["kind"], scale["spec"]) == ("Scale", {"replicas": 3})
    assert decoded(api, "GET", f"{path}/status")[1]["kind"] == "Deployment"
    account = "/api/v1/namespaces/default/serviceaccounts/asker"
    made = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "asker"}}
    assert decoded(api, "POST", account.rpartition("/")[0], made)[0] == 201
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    code, answer = decoded(api, "POST", f"{account}/token", asked)
    assert (code, answer["status"]["token"].count(".")) == (201, 2)
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    code, answer = decoded(api, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    assert (code, answer["status"]["userInfo"]["username"]) == (201, "admin")


def test_only_metadata_is_given_of_objects_and_lists(api: Any) -> None:
    decoded(api, "POST", MAPS, config_map("told", a="1"))
    code, content_type, data = ask(api, "GET", f"{MAPS}/told", accept=PARTIAL)
    assert (code, content_type.partition(";")[0]) == (200, PROTOBUF)
    kind, fields = message(data)
    assert kind == {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata"}
    assert metadata(fields[1][0]) == api.json("GET", f"{MAPS}/told")[1]["metadata"]


@pytest.mark.parametrize(("version", "own", "items"), [("v1", 1, 2), ("v1beta1", 2, 1)])
def test_lists_of_metadata_have_the_field_numbers_of_their_version(
    api: Any, version: str, own: int, items: int
) -> None:
    ask(api, "POST", MAPS, config_map(f"listed-{version}"))
    kind, fields = message(ask(api, "GET", MAPS, accept=PARTIAL_LIST % version)[2])
    assert kind["apiVersion"] == f"meta.k8s.io/{version}"
    assert int(metadata(fields[own][0], schema.LIST_META)["resourceVersion"]) > 0
    parts = [next(iter(wire.fields(item)))[2] for item in fields[items]]
    assert f"listed-{version}" in [metadata(part)["name"] for part in parts]  # type: ignore[arg-type]


def test_what_is_served_is_told_in_protobuf(api: Any) -> None:
    paths = [p for p in api.json("GET", "/")[1]["paths"] if p.startswith("/api")]
    assert {"/api", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1"} <= set(paths)
    for path in paths:
        as_json = {"apiVersion": "v1", **api.json("GET", path)[1]}
        assert normal(decoded(api, "GET", path)[1]) == normal(as_json), path


# -- refusals ---------------------------------------------------------------------------------


def test_errors_are_statuses_in_protobuf(api: Any) -> None:
    code, found = decoded(api, "GET", f"{MAPS}/nobody")
    assert (code, found["kind"], found["reason"]) == (404, "Status", "NotFound")
    assert found["details"] == {"name": "nobody", "kind": "configmaps"}
    code, found = decoded(api, "POST", MAPS, config_map("Not_A_Name"))
    assert (code, found["details"]["causes"][0]["field"]) == (422, "metadata.name")


def test_who_accepts_json_too_gets_json(api: Any) -> None:
    for accept in (f"{PROTOBUF},application/json", f"{PROTOBUF}, */*"):
        code, content_type, _ = ask(api, "GET", MAPS, accept=accept)
        assert (code, content_type) == (200, "application/json")
        assert ask(api, "GET", f"{MAPS}/nobody", accept=accept)[1] == "application/json"


def test_tables_are_not_in_protobuf(api: Any) -> None:
    table = f"{PROTOBUF};as=Table;v=v1;g=meta.k8s.io"
    assert ask(api, "GET", MAPS, accept=table)[0] == 406
    assert ask(api, "GET", MAPS, accept=f"{table},application/json")[1] == "application/json"


def test_custom_resources_have_no_protobuf_but_their_metadata_and_scale_have(api: Any) -> None:
    api.json("POST", DEFINITIONS, DEFINITION)
    made = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "one"},
            "spec": {"replicas": 2}}  # fmt: skip
    code, _, data = ask(api, "POST", THINGS, made)
    assert (code, protobuf.decode(data)["reason"]) == (406, "NotAcceptable")
    assert api.json("GET", f"{THINGS}/one")[0] == 404
    assert api.json("POST", THINGS, made)[0] == 201
    for path in (THINGS, f"{THINGS}/one", f"{THINGS}?watch=1"):
        assert ask(api, "GET", path)[0] == 406
    kind, fields = message(ask(api, "GET", f"{THINGS}/one", accept=PARTIAL)[2])
    assert (kind["kind"], metadata(fields[1][0])["name"]) == ("PartialObjectMetadata", "one")
    assert decoded(api, "GET", f"{THINGS}/one/scale")[1]["spec"] == {"replicas": 2}


# -- watches ----------------------------------------------------------------------------------


class Watch:
    """An open watch: `next()` is (type, the envelope of the object)."""

    def __init__(self, api: Any, path: str, accept: str, **parameters: Any) -> None:
        query = urllib.parse.urlencode({"watch": "true", "timeoutSeconds": 20, **parameters})
        self._connection = http.client.HTTPSConnection(
            "127.0.0.1", api.port, context=api._tls(api.admin), timeout=15
        )
        self._connection.request("GET", f"{path}?{query}", headers={"Accept": accept})
        self.answer = self._connection.getresponse()
        assert self.answer.status == 200, self.answer.read()
        assert self.answer.headers["content-type"] == f"{PROTOBUF};stream=watch"

    def next(self) -> tuple[str, bytes]:
        size = int.from_bytes(self.answer.read(4), "big")
        event = {n: v for n, _, v in wire.fields(self.answer.read(size))}
        (raw,) = [v for _, _, v in wire.fields(event[2])]  # type: ignore[arg-type]
        return event[1].decode(), raw  # type: ignore[union-attr, return-value]

    def decoded(self) -> tuple[str, dict[str, Any]]:
        type_, raw = self.next()
        return type_, protobuf.decode(raw)

    def close(self) -> None:
        self._connection.close()


def test_a_watch_begins_with_what_there_is_a_bookmark_and_goes_on(api: Any) -> None:
    ask(api, "POST", MAPS, config_map("watched", a="1"))
    watch = Watch(
        api, MAPS, f"{PROTOBUF};stream=watch", fieldSelector="metadata.name=watched",
        sendInitialEvents="true", resourceVersionMatch="NotOlderThan", allowWatchBookmarks="true",
    )  # fmt: skip
    type_, found = watch.decoded()
    assert (type_, found) == ("ADDED", api.json("GET", f"{MAPS}/watched")[1])
    type_, mark = watch.decoded()
    assert (type_, mark["kind"]) == ("BOOKMARK", "ConfigMap")
    assert mark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(mark["metadata"]["resourceVersion"]) >= int(found["metadata"]["resourceVersion"])
    ask(api, "PUT", f"{MAPS}/watched", config_map("watched", a="2"))
    ask(api, "DELETE", f"{MAPS}/watched")
    (first, changed), (second, gone) = watch.decoded(), watch.decoded()
    assert (first, changed["data"], second, gone["data"]) == (
        "MODIFIED", {"a": "2"}, "DELETED", {"a": "2"},
    )  # fmt: skip
    watch.close()


def test_a_watch_of_metadata_in_protobuf(api: Any) -> None:
    watch = Watch(api, MAPS, PARTIAL, fieldSelector="metadata.name=seen")
    ask(api, "POST", MAPS, config_map("seen", a="1"))
    type_, raw = watch.next()
    kind, fields = message(raw)
    assert (type_, kind["kind"]) == ("ADDED", "PartialObjectMetadata")
    assert (list(fields), metadata(fields[1][0])["name"]) == ([1], "seen")
    watch.close()


def test_a_watch_that_fails_ends_with_a_status_in_protobuf(api: Any) -> None:
    version = int(api.json("GET", MAPS)[1]["metadata"]["resourceVersion"])
    api.call(api.store.compact(version))
    api.stop()
    api.start()  # it cannot know what was before
    watch = Watch(api, MAPS, PROTOBUF, resourceVersion="1")
    type_, found = watch.decoded()
    assert (type_, found.get("kind"), found.get("code")) == ("ERROR", "Status", 410)
    assert watch.answer.read() == b""
    watch.close()
