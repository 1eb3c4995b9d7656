"""What is passed on of a request and back of an answer, names of proxies, options of logs."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.apiserver import routing
from cluster.apiserver.authn.user import User
from cluster.apiserver.authz.attributes import Attributes, demanded
from cluster.apiserver.handlers import log_options
from cluster.apiserver.handlers.containers import choose_container
from cluster.apiserver.handlers.proxying import Named, parse_name
from cluster.apiserver.http.messages import Request, parse_query
from cluster.apiserver.proxying import messages
from cluster.apiserver.routing import Target
from cluster.machinery.status import ApiError

PODS = "/api/v1/namespaces/ns/pods"


def request(query: str = "", headers: dict[str, str] | None = None) -> Request:
    def nowhere(*_: Any) -> Any:
        raise AssertionError("nothing is sent")

    return Request(
        "GET", "/p", parse_query(query), headers or {}, b"", None, nowhere, peer_address="10.1.1.1"
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("web", Named("", "web", "")),
        ("web:80", Named("", "web", "80")),
        ("https:web:", Named("https", "web", "")),
        (":web:http", Named("", "web", "http")),
    ],
)
def test_names_of_proxies(text: str, named: Named) -> None:
    assert parse_name(text) == named


@pytest.mark.parametrize("text", ["ftp:web:1", "a:b:c:d"])
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(ApiError, match="invalid proxy name"):
        parse_name(text)


@pytest.mark.parametrize("below", ["", "/", "/a/b//c", "/namespaces/x/pods/y/exec"])
def test_whatever_is_below_a_proxy_is_its_own_matter(below: str) -> None:
    path = f"{PODS}/p:80/proxy{below}"
    found = routing.parse("PUT", path, lambda _: True)
    assert found == Target("update", "", "v1", "pods", "ns", "p:80", "proxy")


def test_a_name_called_proxy_is_a_name() -> None:
    found = routing.parse("GET", "/api/v1/namespaces/ns/pods/proxy", lambda _: False)
    assert found == Target("get", "", "v1", "pods", "ns", "proxy")


def test_a_command_needs_permission_to_create_whatever_its_method() -> None:
    asked = Attributes(User("jane"), "get", "", "", "v1", "pods", "exec", "ns", "p")
    assert [each.verb for each in demanded(asked)] == ["get", "create"]
    assert [each.verb for each in demanded(asked._replace(verb="create"))] == ["create"]
    assert [each.verb for each in demanded(asked._replace(subresource="log"))] == ["get"]


def test_who_asks_is_not_told_to_backends() -> None:
    sent = {
        "authorization": "Bearer secret",
        "impersonate-user": "root",
        "x-remote-user": "root",
        "x-forwarded-for": "9.9.9.9",
        "connection": "keep-alive",
        "accept": "text/html",
        "host": "api:6443",
    }
    kept = messages.request_headers(request(headers=sent), "127.5.0.2:80")
    assert kept == {
        "host": "127.5.0.2:80",
        "accept": "text/html",
        "x-forwarded-for": "9.9.9.9, 10.1.1.1",
        "x-forwarded-host": "api:6443",
        "x-forwarded-proto": "https",
        "x-forwarded-uri": "/p",
    }


def test_an_upgrade_is_passed_on_only_where_both_headers_ask_for_it() -> None:
    both = {"connection": "keep-alive, Upgrade", "upgrade": "websocket"}
    assert messages.upgrade_of(both) == "websocket"
    assert messages.upgrade_of({"upgrade": "websocket"}) == ""


@pytest.mark.parametrize(
    ("location", "wanted"),
    [
        ("/login?next=%2F", "/our/proxy/login?next=%2F"),
        ("http://10.0.0.1:80/there", "/our/proxy/there"),
        ("http://elsewhere/there", "http://elsewhere/there"),
        ("relative", "relative"),
    ],
)
def test_redirects_of_a_backend_lead_through_the_proxy_again(location: str, wanted: str) -> None:
    answered = {"location": location, "transfer-encoding": "chunked", "x-own": "1"}
    kept = messages.answer_headers(answered, "/our/proxy", "10.0.0.1:80")
    assert kept == {"Location": wanted, "X-Own": "1"}


def test_options_of_logs_are_passed_on() -> None:
    query = "follow=true&tailLines=0&timestamps=1&sinceTime=2026-01-01T00:00:00Z&limitBytes=7"
    assert log_options.read(request(query)) == {
        "follow": "true",
        "timestamps": "true",
        "tailLines": "0",
        "limitBytes": "7",
        "sinceTime": "2026-01-01T00:00:00Z",
    }


@pytest.mark.parametrize(
    ("query", "code", "text"),
    [
        ("tailLines=-1", 422, "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ("limitBytes=0", 422, "limitBytes: Invalid value: 0: must be greater than 0"),
        ("sinceSeconds=0", 422, "sinceSeconds: Invalid value: 0"),
        ("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z", 422, "at most one of"),
        ("tailLines=x", 400, "not a number"),
        ("sinceTime=yesterday", 400, "sinceTime"),
        ("stream=Both", 422, 'supported values: "All", "Stdout", "Stderr"'),
        ("stream=Stdout&tailLines=1", 422, "mutually exclusive"),
    ],
)
def test_options_of_logs_that_cannot_be(query: str, code: int, text: str) -> None:
    with pytest.raises(ApiError) as refused:
        log_options.read(request(query))
    assert refused.value.code == code
    assert text in refused.value.message


def test_the_container_is_the_only_one_the_default_or_asked_for() -> None:
    def pod(*names: str, **metadata: Any) -> dict[str, Any]:
        spec = {
            "containers": [{"name": name} for name in names],
            "ephemeralContainers": [{"name": "debugger"}],
        }
        return {"metadata": {"name": "p"} | metadata, "spec": spec}

    assert choose_container(pod("a"), "") == "a"
    assert choose_container(pod("a"), "debugger") == "debugger"
    default = {"annotations": {"kubectl.kubernetes.io/default-container": "b"}}
    assert choose_container(pod("a", "b", **default), "") == "b"
    with pytest.raises(ApiError, match=r"choose one of: \[a b\] or one of the ephemeral"):
        choose_container(pod("a", "b"), "")
    with pytest.raises(ApiError, match="container x is not valid for pod p"):
        choose_container(pod("a"), "x")
