"""A member whose log is damaged: refused, shown, and healed by one command; nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from pathlib import Path
from typing import Any

from actors.seams import system_seams
from raftstore.client import StoreClient


def write_until(stop: threading.Event, cluster: Any, acknowledged: list[str]) -> None:
    while not stop.is_set():
        name = f"written-{len(acknowledged)}"
        done = cluster.kubectl("create", "configmap", name, "-n", "default", check=False)
        if done.returncode == 0:
            acknowledged.append(name)


def damage(folder: Path) -> Path:
    """Flip a byte early in the oldest segment of a member's log."""
    segment = sorted((folder / "wal").glob("*.wal"))[0]
    with segment.open("r+b", buffering=0) as file:
        file.seek(300)
        [byte] = os.pread(file.fileno(), 1, 300)
        file.write(bytes([byte ^ 0xFF]))
    return segment


def test_a_member_with_a_damaged_log_is_refused_and_replaced(cluster: Any, harness: Any) -> None:
    victim = next(n for n in ("store-0", "store-1") if n != cluster.leader("store"))
    acknowledged: list[str] = []
    stop = threading.Event()
    writing = threading.Thread(target=write_until, args=(stop, cluster, acknowledged))
    writing.start()
    try:
        damage(cluster.folder / "store" / victim)
        cluster.raykube("kill", victim)
        said = harness.eventually(lambda: _refusal(cluster, victim), "the damage is told")
        assert f"raykube store replace-member {victim}" in said
        assert victim in cluster.raykube("status").stdout
        done = cluster.raykube("store", "replace-member", victim)
        assert "in sync again" in done.stdout
        assert f"{victim}.replaced-" in done.stdout
        again = cluster.raykube("store", "replace-member", victim)
        assert "nothing to replace" in again.stdout
    finally:
        stop.set()
        writing.join()
    statuses = json.loads(cluster.raykube("store", "status", "-o", "json").stdout)
    assert [status["healthy"] for status in statuses] == [True] * 3
    members = json.loads(cluster.raykube("store", "members", "-o", "json").stdout)
    assert sorted((m["name"], m["learner"]) for m in members) == [
        (f"store-{number}", False) for number in range(3)
    ]
    found = {
        item["metadata"]["name"] for item in cluster.get("configmaps", "-n", "default")["items"]
    }
    assert acknowledged
    assert set(acknowledged) <= found
    harness.eventually(lambda: _hashes(cluster) == 1, "all members hold the same")
    cluster.raykube("kill", victim)
    harness.eventually(lambda: cluster.components()[victim]["ready"], f"{victim} is back")
    cluster.kubectl("delete", "configmap", "-n", "default", *acknowledged, "--wait=false")


def _refusal(cluster: Any, victim: str) -> str:
    detail: str = cluster.components()[victim]["detail"]
    return detail if "CorruptLog" in detail else ""


def _hashes(cluster: Any) -> int:
    """How many different states the members have, at a revision that all of them hold."""
    places = json.loads((cluster.folder / "store-members").read_text())
    pki = cluster.folder / "pki"
    tls = {
        "ca": str(pki / "ca.crt"),
        "cert": str(pki / "store-client.crt"),
        "key": str(pki / "store-client.key"),
    }

    async def ask() -> int:
        endpoints = [client for _, client in places.values()]
        store = StoreClient(endpoints, tls)
        await store.start(system_seams())
        try:
            revision = min(status.revision for status in await store.status())
            hashes = set()
            for endpoint in endpoints:
                async with store.member(endpoint) as member:
                    hashes.add(await member.hash_kv(revision))
            return len(hashes)
        finally:
            await store.stop()

    return asyncio.run(ask())
