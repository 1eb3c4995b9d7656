"""Nodes, and fleets of simulated ones."""

from __future__ import annotations

from actors.component import ActorSpec, ComponentSpec
from cluster.compose.layout import DNS_PORT, FLEET_PORT, KUBELET_PORT, Placed, own_port
from cluster.compose.shape import DOMAIN
from cluster.compose.wiring import Wiring
from cluster.kubelet import ray_resources


def _extended(wiring: Wiring, node: Placed) -> dict[str, str]:
    """The first node on a machine has what Ray says the machine has, GPUs for instance."""
    same = [each for each in wiring.layout.nodes if each.machine == node.machine]
    return ray_resources.extended(node.machine.resources) if same[0] == node else {}


def node_actor(wiring: Wiring, index: int, node: Placed) -> ActorSpec:
    kubelet_client, kubelet_files = wiring.client(
        node.name, f"system:node:{node.name}", ["system:nodes"]
    )
    proxy_client, proxy_files = wiring.client(f"{node.name}-proxy", "system:kube-proxy")
    dns_client, dns_files = wiring.client(f"{node.name}-dns", "system:dns")
    tls, server_files = wiring.identity(
        f"{node.name}-server",
        wiring.authority.issue(
            f"system:node:{node.name}", ["system:nodes"], names=[node.address, node.name]
        ),
    )
    kubelet = {
        "node_name": node.name,
        "node_ip": node.address,
        "port": own_port(wiring.layout.nodes, node, KUBELET_PORT),
        "client": kubelet_client,
        "data_dir": wiring.shape.node_folder(node.name),
        "pod_cidr": f"127.{wiring.shape.network}.{index + 1}.0/24",
        "cluster_dns": wiring.shape.dns_address,
        "cluster_domain": DOMAIN,
        "labels": {},
        "capacity": _extended(wiring, node),
        "tls": tls,
        "rotate_certificates": True,
        "runtime": wiring.shape.runtime,
        "runtime_endpoint": wiring.shape.runtime_endpoint,
        "image_store": wiring.shape.image_store,
        "registries": wiring.shape.registries,
    }
    more = wiring.shape.kubelet
    kubelet |= more | {"capacity": {**_extended(wiring, node), **(more.get("capacity") or {})}}
    proxy = {"node_name": node.name, "client": proxy_client, "mode": "userspace"}
    dns = {
        "address": f"{wiring.shape.dns_address}:{DNS_PORT}",
        "domain": DOMAIN,
        "client": dns_client,
    }
    components = [
        ComponentSpec("cluster.kubelet.kubelet:Kubelet", kubelet),
        ComponentSpec("cluster.proxy.server:Proxy", proxy),
        ComponentSpec("cluster.dns.server:DnsServer", dns),
    ]
    files = kubelet_files + proxy_files + dns_files + server_files
    return wiring.spec(node, "node", components, files)


def fleet_actor(wiring: Wiring, fleet: Placed) -> ActorSpec:
    """Many simulated nodes in one process, at one address."""
    client, files = wiring.client(fleet.name, "system:simulated-nodes", ["system:nodes"])
    names = [fleet.address, fleet.name]
    tls, server_files = wiring.identity(
        fleet.name, wiring.authority.issue(f"raykube:{fleet.name}", names=names)
    )
    config = {
        "name": fleet.name,
        "client": client,
        "address": fleet.address,
        "port": own_port(wiring.layout.fleets, fleet, FLEET_PORT),
        "tls": tls,
    }
    component = ComponentSpec("cluster.kubelet.simulated.fleet:Fleet", config)
    return wiring.spec(fleet, "fleet", [component], files + server_files)
