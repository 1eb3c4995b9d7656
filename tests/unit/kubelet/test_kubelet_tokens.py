from __future__ import annotations

import asyncio
from typing import Any

from actors.seams import system_seams
from cluster.kubelet import tokens
from cluster.kubelet.tokens import Tokens
from cluster.kubelet.volumes import payload
from cluster.machinery import meta

POD = {
    "metadata": {"name": "p", "namespace": "ns", "uid": "u-1"},
    "spec": {"serviceAccountName": "robot"},
}
SOURCE = {"serviceAccountToken": {"path": "token", "expirationSeconds": 1000, "audience": "vault"}}


class Clock:
    """Only the wall time, which the test moves."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def wall(self) -> float:
        return self.now_s


class Seams:
    def __init__(self) -> None:
        self.clock = Clock()
        self.randomness = system_seams().randomness


class Client:
    """Answers TokenRequests as a server would, and keeps them."""

    def __init__(self, clock: Clock) -> None:
        self.asked: list[Any] = []
        self._clock = clock

    async def create(self, resource: str, obj: Any, namespace: str, **where: str) -> Any:
        self.asked.append((resource, namespace, where, obj["spec"]))
        ends_s = self._clock.now_s + obj["spec"]["expirationSeconds"]
        status = {
            "token": f"t{len(self.asked)}",
            "expirationTimestamp": meta.format_time(ends_s),
        }
        return {**obj, "status": status}


def test_a_token_is_bound_to_its_pod_and_replaced_before_it_ends() -> None:
    seams: Any = Seams()
    client: Any = Client(seams.clock)
    held = Tokens(client, seams)
    _, name = tokens.reference(SOURCE["serviceAccountToken"])

    def token() -> str:
        return str(asyncio.run(held.get(POD, name))["status"]["token"])

    assert (token(), token()) == ("t1", "t1")
    bound = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u-1"}
    spec = {"audiences": ["vault"], "expirationSeconds": 1000, "boundObjectRef": bound}
    where = {"subresource": "token", "name": "robot"}
    assert client.asked == [("serviceaccounts", "ns", where, spec)]
    due_s = held.due_s("u-1")
    assert due_s is not None
    assert seams.clock.now_s + 700 < due_s < seams.clock.now_s + 801
    seams.clock.now_s = due_s
    assert token() == "t2"
    held.forget("u-1")
    assert held.due_s("u-1") is None


def test_a_projected_volume_holds_the_token() -> None:
    volume = {"name": "v", "projected": {"sources": [SOURCE], "defaultMode": 0o600}}
    (wanted,) = payload.references(volume)
    answer = {"status": {"token": "abc"}}
    files = payload.files(POD, volume, {wanted: answer}, {})
    assert (files["token"].data, files["token"].mode) == (b"abc", 0o600)
