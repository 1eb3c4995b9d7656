"""Pods with networks of their own by CNI plugins, in a network namespace made for the test."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from containerd import IMAGE, Containerd, needs_containerd

from actors.seams import system_seams
from cluster.kubelet.runtimes.base import ContainerSpec, PodSandbox
from cluster.kubelet.runtimes.cri.runtime import CriRuntime
from cluster.kubelet.runtimes.reap import reap

CIDR = "10.231.0.0/24"
NETWORK = {
    "cniVersion": "0.4.0",
    "name": "test",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "test0",
            "isGateway": True,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": CIDR}]]},
        }
    ],
}
pytestmark = [
    needs_containerd,
    pytest.mark.skipif(
        not os.path.exists("/usr/lib/cni/bridge") or shutil.which("unshare") is None,
        reason="no CNI plugins (containernetworking-plugins), or no unshare",
    ),
]


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Containerd]:
    """A containerd whose bridge is in a network namespace that nobody else has."""
    plugins = NETWORK["plugins"]
    assert isinstance(plugins, list)
    plugins[0]["ipam"]["dataDir"] = str(tmp_path / "addresses")
    made = Containerd(prefix=("unshare", "--net"), cni=json.dumps(NETWORK))
    yield made
    made.close()


def test_pods_have_addresses_of_their_own_and_reach_each_other(
    apart: Containerd, tmp_path: Path
) -> None:
    async def work() -> None:
        runtime = CriRuntime(apart.endpoint, str(tmp_path), system_seams(), on_host=False)
        await runtime.start(lambda _uid: None)
        server, client = pod(tmp_path), pod(tmp_path)
        address, own = await runtime.run_pod(server), await runtime.run_pod(client)
        network = ipaddress.ip_network(CIDR)
        assert all(ipaddress.ip_address(each) in network for each in (address, own))
        assert address != own
        assert await runtime.run_pod(server) == address
        shared = await runtime.run_pod(pod(tmp_path, host_network=True))
        assert shared == ""  # the kubelet knows the address of the node
        serve = "mkdir /w; hostname >/w/index.html; exec httpd -f -p 80 -h /w"
        await runtime.run(spec(server, "sh", "-c", serve))
        asking = await runtime.run(spec(client, "sleep", "1000"))
        fetch = f"until wget -q -O- http://{address}/; do sleep 0.1; done"
        answer = await runtime.exec(
            asking.container_id, ["sh", "-c", fetch], timeout_s=60.0, output_size_bytes_max=1000
        )
        assert answer.output.decode().splitlines()[-1] == server.hostname
        assert runtime.problem == ""
        await runtime.stop()

    try:
        asyncio.run(work())
    finally:
        reap(str(tmp_path))


def pod(folder: Path, *, host_network: bool = False) -> PodSandbox:
    uid = str(uuid.uuid4())
    return PodSandbox(
        uid,
        name=f"pod-{uid[:8]}",
        hostname=f"host-{uid[:8]}",
        log_folder=str(folder / "logs" / uid),
        host_network=host_network,
    )


def spec(sandbox: PodSandbox, *command: str) -> ContainerSpec:
    log_path = os.path.join(sandbox.log_folder, "main", "0.log")
    return ContainerSpec(
        sandbox.uid, "main", 0, "any", command, {}, log_path, image=IMAGE, sandbox=sandbox
    )
