"""API servers."""

from __future__ import annotations

from actors.component import ActorSpec, ComponentSpec
from cluster.compose.layout import API_PORT, Placed
from cluster.compose.shape import DOMAIN
from cluster.compose.wiring import ENCRYPTION, Wiring

ISSUER = f"https://kubernetes.default.svc.{DOMAIN}"
"""Of service accounts' tokens."""


def api_server_actor(wiring: Wiring, server: Placed) -> ActorSpec:
    first_service = f"127.{wiring.shape.network + 1}.0.1"
    names = [
        server.address, first_service, "localhost", "kubernetes", "kubernetes.default",
        "kubernetes.default.svc", f"kubernetes.default.svc.{DOMAIN}",
    ]  # fmt: skip
    tls, files = wiring.identity(server.name, wiring.authority.issue("kube-apiserver", names=names))
    kubelet_tls, kubelet_files = wiring.identity(
        f"{server.name}-kubelet-client",
        wiring.authority.issue("kube-apiserver-kubelet-client", ["system:masters"]),
    )
    store_tls, store_files = wiring.identity(
        f"{server.name}-store-client",
        wiring.authority.issue("raykube:api-server", ["raykube:store"]),
    )
    account_key = wiring.shape.path("pki", "service-account.key")
    encryption_file = wiring.shape.path(*ENCRYPTION)
    config = {
        "name": server.name,
        "address": f"{server.address}:{API_PORT}",
        "service_account": {"issuer": ISSUER, "key": account_key},
        "encryption": encryption_file,
        "advertise_address": server.address,
        "store": wiring.layout.store_endpoints,
        "store_tls": store_tls,
        "tls": tls,
        "kubelet_tls": kubelet_tls,
        "service_cidr": wiring.shape.service_cidr,
        "event_ttl_s": 3600,
        "cluster_info": wiring.layout.api_urls[0],
    }
    front, front_files = wiring.front_proxy()
    config |= front
    if wiring.shape.audit_policy:
        log = wiring.shape.path("logs", f"{server.name}-audit.log")
        config["audit"] = {"policy": wiring.shape.audit_policy, "log": log}
    component = ComponentSpec("cluster.apiserver.server:ApiServer", config)
    hidden = ((account_key, wiring.account_key), (encryption_file, wiring.encryption))
    files += kubelet_files + store_files + front_files + hidden
    return wiring.spec(server, "api-server", [component], files)
