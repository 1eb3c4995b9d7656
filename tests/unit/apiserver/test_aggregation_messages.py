"""What is sent to a server behind ours: the request, and who it is from."""

from __future__ import annotations

from typing import Any

from cluster.apiserver.aggregation import messages
from cluster.apiserver.authn.user import User
from cluster.apiserver.discovery import converted
from cluster.apiserver.http.messages import Request


def request(path: str = "/apis/g/v1/things", **headers: str) -> Request:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    opener: Any = None
    return Request("GET", path, {}, named, b"", None, opener, peer_address="10.0.0.9")


def test_credentials_and_claims_of_the_client_stay_here() -> None:
    given = request(
        authorization="Bearer x", x_remote_user="god", x_remote_extra_a="b", impersonate_user="me",
        connection="close", accept="application/json",
    )  # fmt: skip
    sent = {name.lower() for name, _ in messages.forwarded(given, User("ann"), "h")}
    assert "accept" in sent
    kept = {"authorization", "impersonate-user", "x-remote-extra-a", "connection"}
    assert not kept & sent
    assert ("X-Remote-User", "ann") in messages.forwarded(given, User("ann"), "h")


def test_everything_that_is_known_of_the_user_is_told() -> None:
    user = User("ann", ("a", "b"), "u1", (("example.com/x y", ("1", "2")),))
    assert list(messages.identity(user)) == [
        ("X-Remote-User", "ann"),
        ("X-Remote-Uid", "u1"),
        ("X-Remote-Group", "a"),
        ("X-Remote-Group", "b"),
        ("X-Remote-Extra-example.com%2Fx%20y", "1"),
        ("X-Remote-Extra-example.com%2Fx%20y", "2"),
    ]


def test_a_line_break_in_a_name_does_not_make_a_header() -> None:
    headers = list(messages.identity(User("ann\r\nX-Remote-Group: system:masters")))
    sent = messages.encode("GET", "/", headers)
    assert b"\r\nX-Remote-Group" not in sent


def test_the_old_form_of_discovery_says_all_that_the_new_one_does() -> None:
    listed = [
        {"name": "things", "singularName": "thing", "namespaced": True, "kind": "Thing",
         "verbs": ["get"], "shortNames": ["th"]},
        {"name": "things/status", "kind": "Thing", "namespaced": True, "verbs": ["patch"]},
        {"name": "things/scale", "kind": "Scale", "group": "autoscaling", "version": "v1",
         "verbs": ["get"]},
    ]  # fmt: skip
    (found,) = converted.version({"resources": listed}, "g", "v1")["resources"]
    assert found["responseKind"] == {"group": "g", "version": "v1", "kind": "Thing"}
    assert (found["scope"], found["shortNames"]) == ("Namespaced", ["th"])
    below = {s["subresource"]: s["responseKind"] for s in found["subresources"]}
    assert below["status"] == found["responseKind"]
    assert below["scale"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
