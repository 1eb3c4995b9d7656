"""One kill of everything that a cluster is made of, with the application and writes going on.

Prints a JSON line for each fault: what was killed, the longest time between two writes and between
two answers of the application that succeeded, how many failed, and when all components were ready
and led again. Exits with 1 if something did not recover, or if a write that had been acknowledged
is missing at the end.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actors import discovery
from actors.errors import ActorError
from actors.seams import system_seams
from cluster.client.config import ClientConfig
from cluster.client.rest import Client
from cluster.faults import nemeses
from cluster.faults.workloads import Requester, Writer

NAMESPACE = "faults"
RECOVERY_MAX_S = 60.0
STEADY_S = 1.0


async def run(folder: str, application: Path, faults: Sequence[str]) -> bool:
    """Break the cluster in `folder` once for each fault. Returns whether it came through."""
    config = ClientConfig.from_kubeconfig(str(Path(folder) / "kubeconfig"))
    seams = system_seams()
    client = Client(config, seams, user_agent="raykube-faults")
    await asyncio.to_thread(_deploy, folder, application)
    service = await client.get("services", "guestbook", NAMESPACE)
    requester = Requester(service["spec"]["clusterIP"], service["spec"]["ports"][0]["port"])
    writer = Writer(config, seams, NAMESPACE)
    tasks = [asyncio.create_task(writer.run()), asyncio.create_task(requester.run())]
    try:
        results = [await _fault(name, folder, client, writer, requester) for name in faults]
        missing = await writer.missing()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await writer.close()
        await client.close()
    acknowledged = len(writer.acknowledged)
    _print({"acknowledged_writes": acknowledged, "missing": missing[:10], "lost": len(missing)})
    return all(results) and not missing


async def _fault(
    name: str, folder: str, client: Client, writer: Writer, requester: Requester
) -> bool:
    pod = await _application_pod(client)
    begun = time.monotonic()
    writes, requests = writer.outages, requester.outages
    writes.begin()
    requests.begin()
    try:
        victim = await asyncio.to_thread(nemeses.ALL[name], nemeses.Target(folder, pod))
    except ActorError as error:
        _print({"fault": name, "error": str(error)})
        return False
    restored_s = await _recovered(folder, begun, writer, requester)
    _print({
        "fault": name,
        "killed": victim,
        "writes_gap_s": round(writes.longest_gap_s, 2),
        "writes_failed": writes.failed,
        "application_gap_s": round(requests.longest_gap_s, 2),
        "requests_failed": requests.failed,
        "whole_again_s": None if restored_s is None else round(restored_s, 2),
        "last_error": writes.errors[-1:] if restored_s is None else [],
    })  # fmt: skip
    return restored_s is not None


async def _recovered(
    folder: str, begun: float, writer: Writer, requester: Requester
) -> float | None:
    """Seconds until the cluster was whole, with writes and requests going well; None: never."""
    ready_at: float | None = None
    while time.monotonic() - begun < RECOVERY_MAX_S:
        await asyncio.sleep(0.05)
        settled = time.monotonic() - begun > 1.0  # the supervisor has seen the death by now
        whole = settled and nemeses.is_whole(discovery.read(folder))
        ready_at = (ready_at or time.monotonic()) if whole else None
        steady = (each.outages.steady(begun, STEADY_S) for each in (writer, requester))
        if ready_at is not None and all(steady):
            return ready_at - begun
    return None


async def _application_pod(client: Client) -> str:
    """A running pod of the application that is not about to go."""
    answer = await client.list("pods", NAMESPACE, label_selector="app=guestbook,tier=frontend")
    for pod in answer["items"]:
        alive = pod["status"].get("phase") == "Running"
        if alive and not pod["metadata"].get("deletionTimestamp"):
            return str(pod["metadata"]["name"])
    raise SystemExit("the application has no running pod")


def _deploy(folder: str, application: Path) -> None:
    kubectl = ["kubectl", "--kubeconfig", str(Path(folder) / "kubeconfig")]
    namespace = subprocess.run([*kubectl, "create", "namespace", NAMESPACE], capture_output=True)
    if namespace.returncode and b"already exists" not in namespace.stderr:
        raise SystemExit(namespace.stderr.decode())
    for arguments in (
        ["apply", "-f", str(application)],
        ["rollout", "status", "deployment/guestbook-backend", "--timeout=90s"],
        ["rollout", "status", "deployment/guestbook", "--timeout=90s"],
    ):
        subprocess.run([*kubectl, "-n", NAMESPACE, *arguments], check=True, stdout=sys.stderr)


def _print(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def main() -> None:
    """usage: python -m cluster.faults.smoke CLUSTER_FOLDER APPLICATION.yaml [FAULT...]"""
    folder, application, *faults = sys.argv[1:]
    unknown = [name for name in faults if name not in nemeses.ALL]
    if unknown:
        sys.exit(f"no fault named {unknown[0]!r}; there are: {', '.join(nemeses.ALL)}")
    passed = asyncio.run(run(folder, Path(application), faults or list(nemeses.ALL)))
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
