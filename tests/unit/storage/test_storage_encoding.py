from __future__ import annotations

import pytest

from cluster.machinery import resources
from cluster.machinery.status import ApiError
from cluster.storage import continuation, encoding, keys


def test_splicing_adds_the_version_and_unsplicing_takes_it_away() -> None:
    obj = {
        "apiVersion": "v1",
        "data": {"trap": '"metadata":{"resourceVersion":"9",'},
        "kind": "ConfigMap",
        "metadata": {"name": "a", "resourceVersion": "3", "selfLink": "/x"},
    }
    stored = encoding.encode(obj)
    assert b"selfLink" not in stored
    spliced = encoding.splice(stored, 42)
    assert encoding.decode(spliced)["metadata"] == {"resourceVersion": "42", "name": "a"}
    assert encoding.decode(encoding.resplice(spliced, 7))["metadata"]["resourceVersion"] == "7"
    assert encoding.unsplice(encoding.resplice(spliced, 123456)) == stored
    assert encoding.decode(spliced)["data"] == obj["data"]


def test_keys_are_those_of_the_contract() -> None:
    pods, deployments = resources.find("pods"), resources.find("deployments.apps")
    assert keys.key(pods, "ns", "x") == "/registry/pods/ns/x"
    assert keys.key(deployments, "ns", "x") == "/registry/apps/deployments/ns/x"
    assert keys.key(resources.find("nodes"), "", "n") == "/registry/nodes/n"
    assert keys.prefix_end("/registry/pods/") == b"/registry/pods0"


@pytest.mark.parametrize("token", ["x", "e30", "bm90IGpzb24", "eyJ2IjoxfQ", "W10"])
def test_a_token_that_is_not_ours_is_a_bad_request(token: str) -> None:
    with pytest.raises(ApiError) as caught:
        continuation.decode(token)
    assert caught.value.code == 400


def test_tokens_survive_the_round_trip() -> None:
    token = continuation.Continuation(17, "default/ü")
    assert continuation.decode(token.encode()) == token
