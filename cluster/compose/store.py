"""The members of the store, and their gateways for etcd's protocol."""

from __future__ import annotations

from actors.component import ActorSpec, ComponentSpec
from cluster.compose.layout import CLIENT_PORT, ETCD_PORT, PEER_PORT, Placed, store_address
from cluster.compose.wiring import Wiring


def member_actor(wiring: Wiring, member: Placed) -> ActorSpec:
    names = [member.address, "localhost", member.name]
    tls, files = wiring.identity(
        member.name,
        wiring.authority.issue(f"raykube:{member.name}", ["raykube:store"], names=names),
    )
    peers = wiring.layout.members
    config = {
        "name": member.name,
        "data_dir": wiring.shape.path("store", member.name),
        "peer_address": store_address(peers, member, PEER_PORT),
        "client_address": store_address(peers, member, CLIENT_PORT),
        "peers": {peer.name: store_address(peers, peer, PEER_PORT) for peer in peers},
        "cluster_token": f"raykube-{wiring.shape.name}",
        "tls": tls,
    }
    if wiring.shape.etcd:
        config["client_urls"] = [f"https://{store_address(peers, member, ETCD_PORT)}"]
    components = [ComponentSpec("raftstore.member:Member", config)]
    if wiring.shape.etcd:
        components.append(_gateway(wiring, member, tls))
    return wiring.spec(member, "store", components, files)


def _gateway(wiring: Wiring, member: Placed, tls: dict[str, str]) -> ComponentSpec:
    peers = wiring.layout.members
    config = {
        "address": store_address(peers, member, ETCD_PORT),
        "endpoints": wiring.layout.store_endpoints,
        "member": store_address(peers, member, CLIENT_PORT),
        "tls": tls,
        "store_tls": tls,
    }
    return ComponentSpec("raftstore.gateway.server:Gateway", config)
