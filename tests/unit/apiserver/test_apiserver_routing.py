from __future__ import annotations

import pytest

from cluster.apiserver import routing
from cluster.apiserver.authn.user import User
from cluster.apiserver.authn.x509 import user_of
from cluster.apiserver.authz.attributes import of_request, refusal
from cluster.apiserver.http.messages import Request
from cluster.apiserver.negotiation import JSON, PROTOBUF, Wanted, body_type, wanted
from cluster.apiserver.routing import Target
from cluster.machinery.status import ApiError

DEPLOYMENTS = "/apis/apps/v1/namespaces/ns/deployments"


@pytest.mark.parametrize(
    ("method", "path", "target"),
    [
        ("GET", "/api/v1/pods", Target("list", "", "v1", "pods")),
        ("GET", "/api/v1/namespaces", Target("list", "", "v1", "namespaces")),
        ("GET", "/api/v1/namespaces/ns", Target("get", "", "v1", "namespaces", "ns", "ns")),
        (
            "PUT",
            "/api/v1/namespaces/ns/finalize",
            Target("update", "", "v1", "namespaces", "ns", "ns", "finalize"),
        ),
        ("POST", "/api/v1/namespaces/ns/pods", Target("create", "", "v1", "pods", "ns")),
        (
            "GET",
            "/api/v1/namespaces/ns/pods/p/log",
            Target("get", "", "v1", "pods", "ns", "p", "log"),
        ),
        ("DELETE", DEPLOYMENTS, Target("deletecollection", "apps", "v1", "deployments", "ns")),
        ("DELETE", DEPLOYMENTS + "/d", Target("delete", "apps", "v1", "deployments", "ns", "d")),
        ("PATCH", DEPLOYMENTS + "/d/", Target("patch", "apps", "v1", "deployments", "ns", "d")),
        ("GET", "/api/v1/watch/nodes", Target("watch", "", "v1", "nodes")),
    ],
)
def test_paths_of_resources(method: str, path: str, target: Target) -> None:
    assert routing.parse(method, path, lambda name: False) == target


@pytest.mark.parametrize(
    "path",
    ["/", "/api", "/api/v1", "/apis/apps/v1", "/version", "/api//pods", "/api/v1/a/b/c/d/e", "x"],
)
def test_other_paths_are_no_resources(path: str) -> None:
    assert routing.parse("GET", path, lambda name: False) is None


def test_a_list_with_watch_is_a_watch() -> None:
    target = routing.parse("GET", "/api/v1/pods", lambda name: name == "watch")
    assert target is not None
    assert target.verb == "watch"


TABLES = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io"
)
METADATA = ",".join(  # what the metadata client of client-go sends
    [
        f"{PROTOBUF};as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        JSON,
    ]
)


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        ("", Wanted()),
        ("*/*", Wanted()),
        (f"{PROTOBUF},application/json", Wanted()),
        (TABLES + ",application/json", Wanted("Table", "v1")),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", Wanted()),
        ("application/yaml;q=0.9,application/cbor", Wanted(encoding="application/yaml")),
        ("application/json;q=0,application/yaml", Wanted(encoding="application/yaml")),
        (PROTOBUF, Wanted(encoding=PROTOBUF)),
        (f"{PROTOBUF};stream=watch,application/yaml;q=0.5", Wanted(encoding=PROTOBUF)),
        (
            f"{PROTOBUF};as=PartialObjectMetadata;v=v1;g=meta.k8s.io,*/*",
            Wanted("PartialObjectMetadata", "v1", PROTOBUF),
        ),
        (METADATA, Wanted("PartialObjectMetadata")),
    ],
)
def test_the_best_answer_that_can_be_given(accept: str, answer: Wanted) -> None:
    assert wanted(accept) == answer


@pytest.mark.parametrize(
    "accept",
    [
        f"{PROTOBUF};as=Table;v=v1;g=meta.k8s.io",
        "text/html",
        "application/json;as=Table;v=v9;g=meta.k8s.io",
    ],
)
def test_nothing_acceptable_is_406(accept: str) -> None:
    with pytest.raises(ApiError) as error:
        wanted(accept)
    assert error.value.code == 406


def test_body_types() -> None:
    assert body_type("") == body_type("application/json; charset=utf-8") == JSON
    assert body_type(PROTOBUF) == PROTOBUF
    with pytest.raises(ApiError) as error:
        body_type("application/cbor")
    assert error.value.code == 415


def test_users_are_read_from_the_subject() -> None:
    subject = ((("organizationName", "a"),), (("organizationName", "b"),), (("commonName", "u"),))
    assert user_of({"subject": subject}) == User("u", ("a", "b"))
    assert user_of({"subject": ((("organizationName", "system:masters"),),)}) is None


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            Target("create", "apps", "v1", "deployments", "ns"),
            'deployments.apps is forbidden: User "u" cannot create resource "deployments" '
            'in API group "apps" in the namespace "ns"',
        ),
        (
            Target("get", "", "v1", "nodes", "", "n"),
            'nodes "n" is forbidden: User "u" cannot get resource "nodes" '
            'in API group "" at the cluster scope',
        ),
        (
            Target("get", "", "v1", "pods", "ns", "p", "log"),
            'pods "p" is forbidden: User "u" cannot get resource "pods/log" '
            'in API group "" in the namespace "ns"',
        ),
        (None, 'forbidden: User "u" cannot get path "/metrics"'),
    ],
)
def test_refusals_have_upstreams_words(target: Target | None, message: str) -> None:
    request = Request("GET", "/metrics", {}, {}, b"", None, lambda *_: None)  # type: ignore
    error = refusal(of_request(User("u"), request, target))
    assert (error.code, error.reason, error.message) == (403, "Forbidden", message)
