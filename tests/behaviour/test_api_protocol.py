"""The API server on the wire: errors, versions, pages, watches, negotiation, over real HTTPS."""

from __future__ import annotations

import http.client
import importlib.util
import json
import socket
import ssl
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_spec = importlib.util.spec_from_file_location(
    "api_fixture", Path(__file__).parents[1] / "unit/apiserver/api_fixture.py"
)
assert _spec is not None
assert _spec.loader is not None
api_fixture = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(api_fixture)

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    running = api_fixture.RunningApi(tmp_path_factory.mktemp("api"))
    yield running
    running.close()


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name: str, **metadata: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": "busybox"}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata},
        "spec": spec,
    }


class Watch:
    """An open watch: `next()` is the next event."""

    def __init__(self, api: Any, path: str, **parameters: Any) -> None:
        query = urllib.parse.urlencode({"watch": "true", "timeoutSeconds": 20, **parameters})
        self._connection = http.client.HTTPSConnection(
            "127.0.0.1", api.port, context=api._tls(api.admin), timeout=15
        )
        self._connection.request("GET", f"{path}?{query}")
        self.answer = self._connection.getresponse()
        assert self.answer.status == 200, self.answer.read()

    def next(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.answer.readline())
        return found

    def kinds(self, count: int) -> list[tuple[str, str]]:
        events = [self.next() for _ in range(count)]
        return [(e["type"], e["object"]["metadata"]["name"]) for e in events]

    def close(self) -> None:
        self._connection.close()


def version_of(api: Any, path: str) -> str:
    return str(api.json("GET", path)[1]["metadata"]["resourceVersion"])


# -- errors -----------------------------------------------------------------------------------


def test_an_invalid_object_gets_422_with_the_field_and_nothing_is_written(api: Any) -> None:
    before = version_of(api, PODS)
    bad = pod("bad")
    bad["spec"]["containers"] = []
    status, answer = api.json("POST", PODS, bad)
    assert (status, answer["reason"]) == (422, "Invalid")
    assert {"reason": "FieldValueRequired", "field": "spec.containers"}.items() <= answer[
        "details"
    ]["causes"][0].items()
    assert api.json("GET", f"{PODS}/bad")[0] == 404
    assert version_of(api, PODS) == before


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"kind":', "invalid JSON"),
        (b"", "empty"),
        (b'{"apiVersion":"v1","kind":7}', "kind must be a string"),
        (b'{"apiVersion":"v1","kind":"Pod"}', "cannot be handled as a ConfigMap"),
        (b'{"apiVersion":"apps/v1","kind":"ConfigMap"}', "does not match the expected API version"),
        (b'{"apiVersion":"v1","kind":"ConfigMap","data":[]}', "cannot unmarshal"),
    ],
)
def test_malformed_bodies_get_400(api: Any, body: bytes, said: str) -> None:
    status, _, answer = api.raw("POST", MAPS, body, JSON)
    assert (status, json.loads(answer)["reason"]) == (400, "BadRequest")
    assert said in json.loads(answer)["message"]


@pytest.mark.parametrize(
    ("method", "path", "code", "reason"),
    [
        ("GET", "/nowhere", 404, "NotFound"),
        ("GET", "/api/v1/unknowns", 404, "NotFound"),
        ("GET", "/apis/none.example/v1/things", 404, "NotFound"),
        ("GET", f"{PODS}/x/unknown", 404, "NotFound"),
        ("GET", "/api/v1/pods/x", 404, "NotFound"),
        ("GET", "/api/v1/namespaces/default/nodes", 404, "NotFound"),
        ("POST", "/api/v1/pods", 405, "MethodNotAllowed"),
        ("PUT", PODS, 405, "MethodNotAllowed"),
        ("POST", f"{PODS}/x", 405, "MethodNotAllowed"),
        ("DELETE", "/version", 405, "MethodNotAllowed"),
        ("GET", f"{PODS}/missing", 404, "NotFound"),
        ("DELETE", f"{PODS}/missing", 404, "NotFound"),
        ("DELETE", "/api/v1/namespaces/default", 403, "Forbidden"),
        ("GET", f"{PODS}?labelSelector=%3D%3D", 400, "BadRequest"),
        ("GET", f"{PODS}?limit=many", 400, "BadRequest"),
        ("GET", f"{PODS}?continue=nonsense", 400, "BadRequest"),
        ("GET", f"{PODS}?resourceVersion=abc", 400, "BadRequest"),
        ("GET", f"{PODS}?resourceVersion=1&resourceVersionMatch=Never", 422, "Invalid"),
        ("GET", f"{PODS}?watch=1&sendInitialEvents=true", 422, "Invalid"),
    ],
)
def test_refusals_are_status_objects(
    api: Any, method: str, path: str, code: int, reason: str
) -> None:
    status, answer = api.json(method, path)
    assert (status, answer["kind"], answer["reason"], answer["code"]) == (
        code,
        "Status",
        reason,
        code,
    )


def test_media_types_that_cannot_be_read_or_made_are_refused(api: Any) -> None:
    assert api.json("POST", MAPS, config_map("x"), Content_Type="text/csv")[0] == 415
    assert api.raw("GET", MAPS, headers={"Accept": "application/cbor"})[0] == 406
    apply_patch = {"Content-Type": "application/apply-patch+cbor"}
    status, _, answer = api.raw("PATCH", f"{MAPS}/x?fieldManager=m", b"{}", apply_patch)
    assert status == 415
    assert "apply-patch+yaml" in json.loads(answer)["message"]


def test_a_body_over_three_mebibytes_gets_413(api: Any) -> None:
    context = api._tls(api.admin)
    with socket.create_connection(("127.0.0.1", api.port), 10) as plain:
        tls = context.wrap_socket(plain, server_hostname="127.0.0.1")
        head = f"POST {MAPS} HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n"
        tls.sendall(head.encode())
        assert tls.recv(4096).startswith(b"HTTP/1.1 413 ")
        tls.close()


def test_pipelined_requests_are_answered_in_order(api: Any) -> None:
    with socket.create_connection(("127.0.0.1", api.port), 10) as plain:
        tls = api._tls(api.admin).wrap_socket(plain, server_hostname="127.0.0.1")
        paths = ["/version", "/nowhere", "/healthz"]
        sent = "".join(f"GET {p} HTTP/1.1\r\nHost: x\r\n\r\n" for p in paths[:2])
        tls.sendall((sent + "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n").encode())
        received = b""
        while piece := tls.recv(65536):
            received += piece
        tls.close()
    codes = [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]]
    assert codes == [b"200", b"404", b"200"]


def test_expect_100_continue_is_honoured(api: Any) -> None:
    body = json.dumps(config_map("expected")).encode()
    with socket.create_connection(("127.0.0.1", api.port), 10) as plain:
        tls = api._tls(api.admin).wrap_socket(plain, server_hostname="127.0.0.1")
        tls.sendall(
            f"POST {MAPS} HTTP/1.1\r\nContent-Length: {len(body)}\r\n"
            "Content-Type: application/json\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert tls.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        tls.sendall(body)
        assert tls.recv(65536).startswith(b"HTTP/1.1 201 Created")
        tls.close()


def test_anonymous_users_see_health_and_version_only(api: Any) -> None:
    for path in ("/healthz", "/livez", "/readyz", "/version"):
        assert api.raw("GET", path, anonymous=True)[0] == 200
    status, _, answer = api.raw("GET", PODS, anonymous=True)
    assert status == 403
    assert 'User "system:anonymous" cannot list resource "pods"' in json.loads(answer)["message"]


# -- writes -----------------------------------------------------------------------------------


def test_a_stale_update_gets_409_and_a_fresh_one_a_new_version(api: Any) -> None:
    _, first = api.json("POST", MAPS, config_map("stale", a="1"))
    first["data"]["a"] = "2"
    status, second = api.json("PUT", f"{MAPS}/stale", first)
    assert status == 200
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    status, answer = api.json("PUT", f"{MAPS}/stale", first | {"data": {"a": "3"}})
    assert (status, answer["reason"]) == (409, "Conflict")
    assert "the object has been modified" in answer["message"]


def test_an_update_without_changes_keeps_the_version(api: Any) -> None:
    _, first = api.json("POST", MAPS, config_map("same", a="1"))
    _, second = api.json("PUT", f"{MAPS}/same", first)
    assert second == first


def test_generated_names_are_short_and_differ(api: Any) -> None:
    obj = config_map("x")
    obj["metadata"] = {"generateName": "gen-"}
    names = {api.json("POST", MAPS, obj)[1]["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(len(name) == len("gen-") + 5 for name in names)


def test_creating_twice_gets_409_and_in_no_namespace_404(api: Any) -> None:
    api.json("POST", MAPS, config_map("once"))
    status, answer = api.json("POST", MAPS, config_map("once"))
    assert (status, answer["reason"]) == (409, "AlreadyExists")
    status, answer = api.json("POST", "/api/v1/namespaces/none/configmaps", config_map("once"))
    assert (status, answer["message"]) == (404, 'namespaces "none" not found')


def test_spec_and_status_are_written_apart(api: Any) -> None:
    api.json("POST", PODS, pod("apart") | {"status": {"phase": "Running"}})
    _, found = api.json("GET", f"{PODS}/apart")
    assert found["status"]["phase"] == "Pending"
    found["status"]["phase"] = "Running"
    found["metadata"]["labels"] = {"not": "written"}
    _, written = api.json("PUT", f"{PODS}/apart/status", found)
    assert written["status"]["phase"] == "Running"
    assert "labels" not in written["metadata"]


def test_unknown_fields_warn_or_fail_as_asked(api: Any) -> None:
    obj = config_map("fields") | {"colour": "red"}
    body = json.dumps(obj).encode()
    status, _, answer = api.raw("POST", f"{MAPS}?fieldValidation=Strict", body, JSON)
    message = json.loads(answer)["message"]
    assert (status, message) == (400, 'strict decoding error: unknown field "colour"')
    status, headers, answer = api.raw("POST", MAPS, body, JSON)
    assert status == 201
    assert headers["warning"] == '299 - "unknown field \\"colour\\""'
    assert "colour" not in json.loads(answer)


@pytest.mark.parametrize("kind", ["merge", "strategic-merge"])
def test_of_a_patch_what_it_names_is_checked_and_the_rest_stays(api: Any, kind: str) -> None:
    headers = {"Content-Type": f"application/{kind}-patch+json"}
    path, name = f"{PODS}/parts-{kind}", f"parts-{kind}"
    _, before = api.json("POST", PODS, pod(name))

    def patched(part: dict[str, Any], query: str = "", at: str = path) -> tuple[int, Any, Any]:
        status, told, answer = api.raw("PATCH", at + query, json.dumps(part).encode(), headers)
        return status, told, json.loads(answer)

    status, told, now = patched({"colour": "red", "metadata": {"labels": {"a": "b"}}})
    assert (status, told["warning"]) == (200, '299 - "unknown field \\"colour\\""')
    assert "colour" not in now
    assert now["metadata"]["labels"] == {"a": "b"}
    assert now["spec"] == before["spec"]
    assert [*now] == [*before]
    assert patched({"status": {"phase": 5}}, at=f"{path}/status")[0] == 400
    assert patched({"spec": 5}, at=f"{path}/status")[0] == 400
    status, _, answer = patched({"status": {"mood": "good"}}, "/status?fieldValidation=Strict")
    assert (status, answer["message"]) == (
        400, 'strict decoding error: unknown field "status.mood"',
    )  # fmt: skip
    told_status = {"status": {"conditions": [], "message": "", "reason": "Tired", "hostIP": None}}
    _, _, now = patched(told_status, at=f"{path}/status")
    assert now["status"] == {"phase": "Pending", "qosClass": "BestEffort", "reason": "Tired"}
    assert patched({"metadata": {"labels": None}})[2]["metadata"].get("labels") is None


def test_kind_and_version_may_be_left_to_the_path(api: Any) -> None:
    status, made = api.json("POST", MAPS, {"metadata": {"name": "bare"}})
    assert (status, made["kind"], made["apiVersion"]) == (201, "ConfigMap", "v1")


def test_yaml_bodies_and_answers(api: Any) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: yaml}\ndata: {a: b}\n"
    status, _, answer = api.raw(
        "POST", MAPS, body, {"Content-Type": "application/yaml", "Accept": "application/yaml"}
    )
    assert status == 201
    assert b"kind: ConfigMap" in answer


def test_finalizers_keep_an_object_until_they_are_removed(api: Any) -> None:
    obj = config_map("held")
    obj["metadata"]["finalizers"] = ["example.com/hold"]
    api.json("POST", MAPS, obj)
    status, held = api.json("DELETE", f"{MAPS}/held")
    assert status == 200
    assert held["metadata"]["deletionTimestamp"]
    patch = {"metadata": {"finalizers": None}}
    merge = {"Content_Type": "application/merge-patch+json"}
    assert api.json("PATCH", f"{MAPS}/held", patch, **merge)[0] == 200
    assert api.json("GET", f"{MAPS}/held")[0] == 404


def test_propagation_policies_become_finalizers(api: Any) -> None:
    for policy, finalizer in (("Foreground", "foregroundDeletion"), ("Orphan", "orphan")):
        api.json("POST", MAPS, config_map(policy.lower()))
        _, answer = api.json("DELETE", f"{MAPS}/{policy.lower()}", {"propagationPolicy": policy})
        assert answer["metadata"]["finalizers"] == [finalizer]
    status, answer = api.json("DELETE", f"{MAPS}/x", {"propagationPolicy": "Sideways"})
    assert (status, answer["reason"]) == (422, "Invalid")


def test_preconditions_protect_another_incarnation(api: Any) -> None:
    api.json("POST", MAPS, config_map("incarnation"))
    options = {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}
    status, answer = api.json("DELETE", f"{MAPS}/incarnation", options)
    assert (status, answer["reason"]) == (409, "Conflict")
    assert "Precondition failed: UID" in answer["message"]
    _, found = api.json("GET", f"{MAPS}/incarnation")
    options = {"preconditions": {"uid": found["metadata"]["uid"]}}
    status, answer = api.json("DELETE", f"{MAPS}/incarnation", options)
    assert (status, answer["status"]) == (200, "Success")
    assert answer["details"]["uid"] == found["metadata"]["uid"]


def test_delete_collection_takes_what_the_selector_matches(api: Any) -> None:
    for name, label in (("dc1", "go"), ("dc2", "go"), ("dc3", "stay")):
        obj = config_map(name)
        obj["metadata"]["labels"] = {"fate": label}
        api.json("POST", MAPS, obj)
    _, answer = api.json("DELETE", f"{MAPS}?labelSelector=fate%3Dgo")
    assert [i["metadata"]["name"] for i in answer["items"]] == ["dc1", "dc2"]
    _, left = api.json("GET", f"{MAPS}?labelSelector=fate")
    assert [i["metadata"]["name"] for i in left["items"]] == ["dc3"]


def test_eviction_deletes_and_scale_sets_replicas(api: Any) -> None:
    api.json("POST", PODS, pod("evicted"))
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "evicted"}}
    assert api.json("POST", f"{PODS}/evicted/eviction", eviction)[0] == 201
    assert api.json("GET", f"{PODS}/evicted")[0] == 404
    api.kubectl("create", "deployment", "scaled", "--image=nginx")
    path = "/apis/apps/v1/namespaces/default/deployments/scaled/scale"
    _, scale = api.json("GET", path)
    assert (scale["spec"]["replicas"], scale["status"]["selector"]) == (1, "app=scaled")
    scale["spec"]["replicas"] = 6
    assert api.json("PUT", path, scale)[1]["spec"]["replicas"] == 6
    scale["spec"]["replicas"] = -1
    del scale["metadata"]["resourceVersion"]
    assert api.json("PUT", path, scale)[0] == 422


# -- lists ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seven(api: Any) -> str:
    """A namespace with seven config maps."""
    api.json("POST", "/api/v1/namespaces", {
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "seven"},
    })  # fmt: skip
    path = "/api/v1/namespaces/seven/configmaps"
    for number in range(7):
        assert api.json("POST", path, config_map(f"m{number}"))[0] == 201
    return path


def test_pages_show_one_revision_and_what_remains(api: Any, seven: str) -> None:
    _, first = api.json("GET", f"{seven}?limit=3")
    assert first["metadata"]["remainingItemCount"] == 4
    api.json("DELETE", f"{seven}/m5")
    token = urllib.parse.quote(first["metadata"]["continue"])
    _, second = api.json("GET", f"{seven}?limit=3&continue={token}")
    assert [i["metadata"]["name"] for i in second["items"]] == ["m3", "m4", "m5"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert second["metadata"]["remainingItemCount"] == 1
    token = urllib.parse.quote(second["metadata"]["continue"])
    _, last = api.json("GET", f"{seven}?limit=3&continue={token}")
    assert [i["metadata"]["name"] for i in last["items"]] == ["m6"]
    assert "continue" not in last["metadata"]
    api.json("POST", seven, config_map("m5"))


def test_an_expired_page_offers_an_inconsistent_continuation(api: Any, seven: str) -> None:
    _, first = api.json("GET", f"{seven}?limit=5")
    api.json("POST", seven, config_map("zlast"))
    api.call(api.store.compact(int(version_of(api, seven))))
    token = urllib.parse.quote(first["metadata"]["continue"])
    status, answer = api.json("GET", f"{seven}?limit=5&continue={token}")
    assert (status, answer["reason"]) == (410, "Expired")
    token = urllib.parse.quote(answer["metadata"]["continue"])
    _, rest = api.json("GET", f"{seven}?limit=5&continue={token}")
    assert [i["metadata"]["name"] for i in rest["items"]] == ["m5", "m6", "zlast"]
    api.json("DELETE", f"{seven}/zlast")


def test_exact_lists_show_the_past(api: Any, seven: str) -> None:
    version = version_of(api, seven)
    api.json("POST", seven, config_map("later"))
    exact = f"{seven}?resourceVersion={version}&resourceVersionMatch=Exact"
    names = [i["metadata"]["name"] for i in api.json("GET", exact)[1]["items"]]
    assert names == [f"m{n}" for n in range(7)]
    api.json("DELETE", f"{seven}/later")


def test_a_version_of_the_future_gets_504_with_its_cause(api: Any) -> None:
    started_s = time.monotonic()
    status, answer = api.json("GET", f"{PODS}?resourceVersion=99999999")
    assert (status, answer["reason"]) == (504, "Timeout")
    assert answer["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    assert 2.5 < time.monotonic() - started_s < 10


def test_tables_and_metadata_only(api: Any, seven: str) -> None:
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    _, headers, answer = api.raw("GET", seven, headers=accept)
    table = json.loads(answer)
    assert headers["content-type"] == "application/json;as=Table;v=v1;g=meta.k8s.io"
    assert [c["name"] for c in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert len(table["rows"]) == 7
    accept = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    _, _, answer = api.raw("GET", seven, headers=accept)
    partial = json.loads(answer)
    assert partial["kind"] == "PartialObjectMetadataList"
    assert "data" not in partial["items"][0]


# -- watches ----------------------------------------------------------------------------------


def test_a_watch_resumes_after_a_version_without_gap_or_repeat(api: Any) -> None:
    _, created = api.json("POST", PODS, pod("w1"))
    version = created["metadata"]["resourceVersion"]
    api.json("POST", PODS, pod("w2"))
    api.json("DELETE", f"{PODS}/w1")
    watch = Watch(api, PODS, resourceVersion=version)
    assert watch.kinds(2) == [("ADDED", "w2"), ("DELETED", "w1")]
    api.json("DELETE", f"{PODS}/w2")
    event = watch.next()
    assert event["type"] == "DELETED"
    assert int(event["object"]["metadata"]["resourceVersion"]) > int(version)
    watch.close()


def test_an_object_that_leaves_the_selector_is_deleted_for_the_watcher(api: Any) -> None:
    version = version_of(api, PODS)
    watch = Watch(api, PODS, resourceVersion=version, labelSelector="in=yes")
    api.json("POST", PODS, pod("leaver", labels={"in": "no"}))
    merge = {"Content_Type": "application/merge-patch+json"}
    for label in ("yes", "no"):
        patch = {"metadata": {"labels": {"in": label}}}
        api.json("PATCH", f"{PODS}/leaver", patch, **merge)
    assert watch.next()["type"] == "ADDED"
    left = watch.next()
    assert left["type"] == "DELETED"
    assert left["object"]["metadata"]["labels"] == {"in": "yes"}
    watch.close()
    api.json("DELETE", f"{PODS}/leaver")


def test_a_watch_by_node_name_sees_a_pod_when_it_is_bound(api: Any) -> None:
    watch = Watch(
        api, "/api/v1/pods", resourceVersion=version_of(api, PODS), fieldSelector="spec.nodeName=n7"
    )
    api.json("POST", PODS, pod("bound"))
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "bound"}}
    api.json("POST", f"{PODS}/bound/binding", binding | {"target": {"name": "n7"}})
    event = watch.next()
    assert (event["type"], event["object"]["spec"]["nodeName"]) == ("ADDED", "n7")
    assert event["object"]["status"]["conditions"][0]["type"] == "PodScheduled"
    watch.close()
    api.json("DELETE", f"{PODS}/bound", {"gracePeriodSeconds": 0})


def test_initial_events_end_with_an_annotated_bookmark(api: Any, seven: str) -> None:
    watch = Watch(
        api,
        seven,
        sendInitialEvents="true",
        resourceVersionMatch="NotOlderThan",
        allowWatchBookmarks="true",
    )
    assert [kind for kind, _ in watch.kinds(7)] == ["ADDED"] * 7
    mark = watch.next()
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    watch.close()


def test_a_bookmark_comes_before_the_watch_ends(api: Any) -> None:
    version = version_of(api, PODS)
    watch = Watch(api, PODS, resourceVersion=version, timeoutSeconds=3, allowWatchBookmarks="true")
    event = watch.next()
    assert event["type"] == "BOOKMARK"
    assert int(event["object"]["metadata"]["resourceVersion"]) >= int(version)
    assert watch.answer.readline() == b""
    watch.close()


def test_a_watch_from_a_forgotten_version_gets_an_error_event(api: Any) -> None:
    api.stop()
    api.start()  # the window of a new server begins at its start
    watch = Watch(api, PODS, resourceVersion="1")
    event = watch.next()
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == (
        "ERROR",
        410,
        "Expired",
    )
    assert watch.answer.readline() == b""
    watch.close()


def test_a_table_watch_describes_its_columns_once(api: Any, seven: str) -> None:
    connection = http.client.HTTPSConnection(
        "127.0.0.1", api.port, context=api._tls(api.admin), timeout=15
    )
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    connection.request("GET", f"{seven}?watch=1&timeoutSeconds=10", headers=accept)
    answer = connection.getresponse()
    tables = [json.loads(answer.readline())["object"] for _ in range(2)]
    assert [bool(t["columnDefinitions"]) for t in tables] == [True, False]
    assert tables[1]["rows"][0]["cells"][0] == "m1"
    connection.close()


# -- documents --------------------------------------------------------------------------------


def test_aggregated_discovery_echoes_its_parameters(api: Any) -> None:
    kind = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    _, headers, answer = api.raw("GET", "/apis", headers={"Accept": f"{kind},application/json"})
    assert headers["content-type"] == kind
    groups = [item["metadata"]["name"] for item in json.loads(answer)["items"]]
    assert "apps" in groups
    _, plain = api.json("GET", "/api/v1")
    eviction = next(r for r in plain["resources"] if r["name"] == "pods/eviction")
    assert (eviction["group"], eviction["version"], eviction["kind"]) == (
        "policy",
        "v1",
        "Eviction",
    )


def test_openapi_documents_have_etags(api: Any) -> None:
    _, index = api.json("GET", "/openapi/v3")
    url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
    status, headers, answer = api.raw("GET", url)
    assert status == 200
    assert "immutable" in headers["cache-control"]
    assert "/apis/apps/v1/namespaces/{namespace}/deployments/{name}" in json.loads(answer)["paths"]
    status, _, answer = api.raw("GET", url, headers={"If-None-Match": headers["etag"]})
    assert (status, answer) == (304, b"")
    protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    status, headers, _ = api.raw("GET", "/openapi/v2", headers={"Accept": protobuf})
    assert (status, headers["content-type"]) == (200, protobuf.replace("@", "."))


def test_health_pages_and_metrics(api: Any) -> None:
    _, _, answer = api.raw("GET", "/readyz?verbose")
    assert b"[+]etcd ok" in answer
    assert answer.endswith(b"readyz check passed\n")
    api.json("GET", PODS)
    _, _, answer = api.raw("GET", "/metrics")
    assert b'apiserver_request_total{verb="list",resource="pods",code="200"}' in answer
    assert json.loads(api.raw("GET", "/version")[2])["minor"] == "34"


def test_the_python_client_creates_watches_and_deletes(api: Any) -> None:
    client = pytest.importorskip("kubernetes.client")
    config = pytest.importorskip("kubernetes.config")
    watch = pytest.importorskip("kubernetes.watch")
    core = client.CoreV1Api(config.new_client_from_config(api.kubeconfig))
    made = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="python"), data={"a": "b"})
    version = core.create_namespaced_config_map("default", made).metadata.resource_version
    core.patch_namespaced_config_map("python", "default", {"data": {"a": "c"}})
    events = watch.Watch().stream(
        core.list_namespaced_config_map, "default", resource_version=version, timeout_seconds=5
    )
    event = next(events)
    assert (event["type"], event["object"].data) == ("MODIFIED", {"a": "c"})
    events.close()
    core.delete_namespaced_config_map("python", "default")
    with pytest.raises(client.ApiException) as error:
        core.read_namespaced_config_map("python", "default")
    assert error.value.status == 404
    core.api_client.close()


def test_a_certificate_of_a_stranger_is_refused(api: Any, tmp_path: Path) -> None:
    stranger = api_fixture.Authority(tmp_path).issue("admin", ["system:masters"])
    context = ssl.create_default_context(cafile=api.authority.ca)
    context.load_cert_chain(stranger["cert"], stranger["key"])
    connection = http.client.HTTPSConnection("127.0.0.1", api.port, context=context, timeout=10)

    def ask() -> None:
        connection.request("GET", PODS)
        connection.getresponse()

    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask()
    connection.close()
