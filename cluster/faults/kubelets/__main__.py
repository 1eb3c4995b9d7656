"""`scripts/chaos kubelet`: SIGKILL of a kubelet, again and again, while pods run, come and go.

usage: scripts/chaos kubelet [--seed N] [--times 50] [--pods 10]

Beside the nodes of a running cluster there is one more, whose kubelet is a process of its own. No
pod may restart or lose a process, and once all pods are deleted, the node may hold no process, no
mount and no network namespace that it did not hold before. Prints a JSON line; status 1 if anything
of it was violated.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop

from actors.seams import system_seams
from cluster.client import Client, ClientConfig
from cluster.compose.shape import DOMAIN, Shape
from cluster.faults.kubelets.campaign import Kills, Outcome, until
from cluster.faults.kubelets.process import KubeletProcess
from cluster.kubelet.runtimes.reap import reap
from cluster.pki import Authority, KeyPair

NODE = "killed-again"
PLACE = 250
"""The third number of its addresses: no cluster has as many nodes."""


def config(folder: Path, shape: Shape, servers: tuple[str, ...]) -> dict[str, Any]:
    """Of the kubelet, with certificates by the cluster's authority."""
    pair = KeyPair(*((Path(shape.folder) / "pki" / f"ca.{p}").read_bytes() for p in ("crt", "key")))
    network = f"127.{shape.network}.{PLACE}"
    issued = Authority(pair).issue(f"system:node:{NODE}", ["system:nodes"], names=[f"{network}.1"])
    files = {"ca": pair.certificate, "cert": issued.certificate, "key": issued.key}
    for part, content in files.items():
        (folder / part).write_bytes(content)
    identity = {part: str(folder / part) for part in files}
    return {
        "node_name": NODE,
        "node_ip": f"{network}.1",
        "client": {"servers": list(servers), **identity},
        "data_dir": str(folder / "data"),
        "pod_cidr": f"{network}.0/24",
        "cluster_dns": shape.dns_address,
        "cluster_domain": DOMAIN,
        "tls": identity,
    }


def _shape(cluster: str) -> Shape:
    return Shape.from_dict(json.loads((Path(cluster) / "cluster.json").read_text()))


async def kill_again(cluster: str, seed: int, times: int, pods: int) -> Outcome:
    client_config = ClientConfig.from_kubeconfig(str(Path(cluster) / "kubeconfig"))
    client = Client(client_config, system_seams(), "raykube-faults")
    namespace = f"kubelet-{seed}"
    metadata = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    await client.create("namespaces", metadata)

    async def has_account() -> bool:
        return bool((await client.list("serviceaccounts", namespace))["items"])

    await until(has_account)
    with tempfile.TemporaryDirectory(prefix="rk-kills-") as folder:
        made = config(Path(folder), _shape(cluster), client_config.servers)
        kubelet = KubeletProcess(made, Path(folder), [])
        kubelet.start()
        try:
            kills = Kills(client, namespace, NODE, kubelet, random.Random(seed))
            return await kills.run(times, pods)
        finally:
            kubelet.stop()
            reap(kubelet.data_dir)
            await client.delete("nodes", NODE)
            await client.delete("namespaces", namespace)
            await client.close()


def main() -> int:
    parser = argparse.ArgumentParser(usage=(__doc__ or "").partition("usage: ")[2])
    parser.add_argument("cluster", help="the folder of the running cluster")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 16))
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--pods", type=int, default=10)
    arguments = parser.parse_args()
    uvloop.install()
    outcome = asyncio.run(
        kill_again(arguments.cluster, arguments.seed, arguments.times, arguments.pods)
    )
    print(json.dumps({"seed": arguments.seed, **outcome.told()}), flush=True)
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
