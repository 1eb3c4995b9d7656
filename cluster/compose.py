"""The one place that wires everything: from a cluster's shape to the actors that make it up.

Pure: it decides names, addresses, certificates and configs; hosts start what it returns.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from actors.component import ActorSpec, ComponentSpec
from actors.placement import Machine, spread
from cluster.kubelet import ray_resources
from cluster.machinery import jwt
from cluster.metrics.registration import HOST as METRICS_HOST
from cluster.pki import Authority, KeyPair
from cluster.storage.encryption.config import document as encryption_document

ELECTION = {"lease_s": 4.0, "renew_s": 3.0, "retry_s": 0.5}
"""Shorter than upstream's 15/10/2: hand-over matters more here than sparing a few writes."""

MODULES = (
    "actors.hosts.ray",
    "raftstore.member",
    "cluster.apiserver.server",
    "cluster.controllers.manager",
    "cluster.metrics.server",
    "cluster.scheduler.scheduler",
    "cluster.kubelet.kubelet",
    "cluster.proxy.server",
    "cluster.dns.server",
)
"""Where the components are; processes that will run one can import them beforehand."""

ENCRYPTION = ("pki", "encryption.yaml")
"""In a cluster's folder: the keys of what stands encrypted in its store."""
FRONT_PROXY = "front-proxy-client"
"""Whom API servers behind ours, and ours behind others, believe who asks (an own authority)."""
DOMAIN = "cluster.local"
ISSUER = f"https://kubernetes.default.svc.{DOMAIN}"
"""Of service accounts' tokens."""
CLIENT_PORT, PEER_PORT, API_PORT, KUBELET_PORT, DNS_PORT = 2379, 2380, 6443, 10250, 53
METRICS_PORT = 4443
METRICS_USER = "system:metrics-server"
ETCD_PORT, FLEET_PORT = 12379, 20250
MAX_GROUPS = 4
MANAGER_PORT, SCHEDULER_PORT = 10257, 10259
"""Where they tell their metrics, as upstream."""


def ray_address(network: int) -> str:
    return f"127.{network}.0.1:{6300 + network}"


@dataclass(frozen=True)
class Shape:
    """What a person asks for. `network` is A of the contracts: 127.A for pods, 127.(A+1) else."""

    name: str
    folder: str
    network: int
    members: int = 3
    api_servers: int = 1
    schedulers: int = 2
    controller_managers: int = 2
    """Of each group."""
    controller_groups: list[str] = field(default_factory=list)
    """Names of controllers, comma-separated, that managers of their own run; at most MAX_GROUPS."""
    nodes: int = 3
    fleets: int = 0
    """Actors that simulate nodes; the nodes themselves are made through the API."""
    etcd: bool = False
    """Whether members serve etcd's protocol too."""
    scheduler_configuration: dict[str, Any] = field(default_factory=dict)
    """A KubeSchedulerConfiguration; empty: the default one."""
    audit_policy: str = ""
    """The file of an audit policy; without one nothing is noted."""
    metrics: bool = True
    """Whether metrics.k8s.io is served, beside the first controller manager."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Shape:
        return cls(**saved)

    @property
    def groups(self) -> int:
        """Of controller managers, with that of all controllers that no other group has."""
        return 1 + len(self.controller_groups)

    @property
    def ray_address(self) -> str:
        """Of the private head. Its port is the cluster's own: Ray takes it on all interfaces."""
        return ray_address(self.network)

    @property
    def service_cidr(self) -> str:
        return f"127.{self.network + 1}.0.0/16"

    @property
    def dns_address(self) -> str:
        return f"127.{self.network + 1}.0.10"

    def path(self, *parts: str) -> str:
        return os.path.join(self.folder, *parts)

    def node_folder(self, node: str) -> str:
        return self.path("nodes", node)


@dataclass(frozen=True)
class Placed:
    """A component instance: its name, the machine that it is pinned to and its own address."""

    name: str
    machine: Machine
    address: str


@dataclass(frozen=True)
class Layout:
    """Every instance of a cluster, by kind. Addresses never change over restarts."""

    members: tuple[Placed, ...]
    api_servers: tuple[Placed, ...]
    schedulers: tuple[Placed, ...]
    controller_managers: tuple[Placed, ...]
    nodes: tuple[Placed, ...]
    fleets: tuple[Placed, ...]

    @property
    def api_urls(self) -> list[str]:
        return [f"https://{api.address}:{API_PORT}" for api in self.api_servers]

    @property
    def store_endpoints(self) -> list[str]:
        """Client addresses of the store's members."""
        return [store_address(self.members, one, CLIENT_PORT) for one in self.members]

    @property
    def etcd_urls(self) -> list[str]:
        """Where the members' gateways are, if they have any."""
        members = self.members
        return [f"https://{store_address(members, one, ETCD_PORT)}" for one in members]


def layout(shape: Shape, machines: Sequence[Machine]) -> Layout:
    """On one machine every instance has a loopback address of its own; on several, their own."""
    alone = len(machines) == 1

    def place(kind: str, count: int, third: int, fourth: int) -> tuple[Placed, ...]:
        return tuple(
            Placed(
                f"{kind}-{index}",
                machine,
                f"127.{shape.network}.{third}.{fourth + index}" if alone else machine.address,
            )
            for index, machine in enumerate(spread(count, machines))
        )

    nodes = tuple(
        Placed(
            f"node-{index}",
            machine,
            f"127.{shape.network}.{index + 1}.1" if alone else machine.address,
        )
        for index, machine in enumerate(spread(shape.nodes, machines))
    )
    return Layout(
        place("store", shape.members, 0, 10),
        place("api-server", shape.api_servers, 0, 30),
        place("scheduler", shape.schedulers, 0, 50),
        place("controller-manager", shape.controller_managers * shape.groups, 0, 70),
        nodes,
        place("fleet", shape.fleets, 0, 90),
    )


@dataclass(frozen=True)
class Plan:
    """The actors to run, and what the person's kubeconfig needs."""

    layout: Layout
    actors: tuple[ActorSpec, ...]
    authority: KeyPair
    admin: KeyPair
    store_client: KeyPair
    """Of the user root, for clients of the members and of their gateways."""


class _Wiring:
    """Builds the specs of one cluster; holds the authority while it does."""

    def __init__(
        self, shape: Shape, placed: Layout, authority: Authority, encryption: bytes
    ) -> None:
        self._shape = shape
        self._layout = placed
        self._authority = authority
        self._front = Authority.create(f"raykube-{shape.name}-front-proxy-ca")
        self._front_client = self._front.issue(FRONT_PROXY)
        self._account_key = jwt.new_signing_key()
        self._encryption = encryption

    def actors(self) -> tuple[ActorSpec, ...]:
        placed = self._layout
        return (
            *(self._store_member(member) for member in placed.members),
            *(self._api_server(server) for server in placed.api_servers),
            *(self._manager(manager) for manager in placed.controller_managers),
            *(self._scheduler(scheduler) for scheduler in placed.schedulers),
            *(self._node(index, node) for index, node in enumerate(placed.nodes)),
            *(self._fleet(fleet) for fleet in placed.fleets),
        )

    def _identity(
        self, name: str, pair: KeyPair
    ) -> tuple[dict[str, str], tuple[tuple[str, bytes], ...]]:
        """TLS paths for a config, and the files that must stand there."""
        paths = {
            "ca": self._shape.path("pki", "ca.crt"),
            "cert": self._shape.path("pki", f"{name}.crt"),
            "key": self._shape.path("pki", f"{name}.key"),
        }
        contents = (self._authority.pair.certificate, pair.certificate, pair.key)
        return paths, tuple(zip(paths.values(), contents, strict=True))

    def _client(
        self, actor: str, user: str, groups: Sequence[str] = ()
    ) -> tuple[dict[str, Any], tuple[tuple[str, bytes], ...]]:
        """An API client's config under the identity `user`, and its files."""
        tls, files = self._identity(f"{actor}-client", self._authority.issue(user, groups))
        return {"servers": self._layout.api_urls, **tls}, files

    def _spec(
        self,
        placed: Placed,
        kind: str,
        components: Sequence[ComponentSpec],
        files: tuple[tuple[str, bytes], ...],
    ) -> ActorSpec:
        log_file = self._shape.path("logs", f"{placed.name}.log")
        return ActorSpec(placed.name, kind, tuple(components), placed.machine.pin, files, log_file)

    def _store_member(self, member: Placed) -> ActorSpec:
        names = [member.address, "localhost", member.name]
        tls, files = self._identity(
            member.name,
            self._authority.issue(f"raykube:{member.name}", ["raykube:store"], names=names),
        )
        peers = self._layout.members
        config = {
            "name": member.name,
            "data_dir": self._shape.path("store", member.name),
            "peer_address": store_address(peers, member, PEER_PORT),
            "client_address": store_address(peers, member, CLIENT_PORT),
            "peers": {peer.name: store_address(peers, peer, PEER_PORT) for peer in peers},
            "cluster_token": f"raykube-{self._shape.name}",
            "tls": tls,
        }
        if self._shape.etcd:
            config["client_urls"] = [f"https://{store_address(peers, member, ETCD_PORT)}"]
        components = [ComponentSpec("raftstore.member:Member", config)]
        if self._shape.etcd:
            components.append(self._gateway(member, tls))
        return self._spec(member, "store", components, files)

    def _gateway(self, member: Placed, tls: dict[str, str]) -> ComponentSpec:
        peers = self._layout.members
        config = {
            "address": store_address(peers, member, ETCD_PORT),
            "endpoints": self._layout.store_endpoints,
            "member": store_address(peers, member, CLIENT_PORT),
            "tls": tls,
            "store_tls": tls,
        }
        return ComponentSpec("raftstore.gateway.server:Gateway", config)

    def _front_proxy(self) -> tuple[dict[str, Any], tuple[tuple[str, bytes], ...]]:
        """The part of an API server's config that is about other API servers, and its files."""
        names = ("front-proxy-ca.crt", "front-proxy-client.crt", "front-proxy-client.key")
        ca, cert, key = (self._shape.path("pki", name) for name in names)
        client = self._front_client
        config = {
            "request_header": {"ca": ca, "allowed_names": [FRONT_PROXY]},
            "proxy_client": {"cert": cert, "key": key},
        }
        certificate = self._front.pair.certificate
        return config, ((ca, certificate), (cert, client.certificate), (key, client.key))

    def _api_server(self, server: Placed) -> ActorSpec:
        first_service = f"127.{self._shape.network + 1}.0.1"
        names = [
            server.address, first_service, "localhost", "kubernetes", "kubernetes.default",
            "kubernetes.default.svc", f"kubernetes.default.svc.{DOMAIN}",
        ]  # fmt: skip
        tls, files = self._identity(
            server.name, self._authority.issue("kube-apiserver", names=names)
        )
        kubelet_tls, kubelet_files = self._identity(
            f"{server.name}-kubelet-client",
            self._authority.issue("kube-apiserver-kubelet-client", ["system:masters"]),
        )
        store_tls, store_files = self._identity(
            f"{server.name}-store-client",
            self._authority.issue("raykube:api-server", ["raykube:store"]),
        )
        account_key = self._shape.path("pki", "service-account.key")
        encryption_file = self._shape.path(*ENCRYPTION)
        config = {
            "name": server.name,
            "address": f"{server.address}:{API_PORT}",
            "service_account": {"issuer": ISSUER, "key": account_key},
            "encryption": encryption_file,
            "advertise_address": server.address,
            "store": self._layout.store_endpoints,
            "store_tls": store_tls,
            "tls": tls,
            "kubelet_tls": kubelet_tls,
            "service_cidr": self._shape.service_cidr,
            "event_ttl_s": 3600,
            "cluster_info": self._layout.api_urls[0],
        }
        front, front_files = self._front_proxy()
        config |= front
        if self._shape.audit_policy:
            log = self._shape.path("logs", f"{server.name}-audit.log")
            config["audit"] = {"policy": self._shape.audit_policy, "log": log}
        component = ComponentSpec("cluster.apiserver.server:ApiServer", config)
        hidden = ((account_key, self._account_key), (encryption_file, self._encryption))
        files += kubelet_files + store_files + front_files + hidden
        return self._spec(server, "api-server", [component], files)

    def _manager(self, manager: Placed) -> ActorSpec:
        client, files = self._client(manager.name, "system:kube-controller-manager")
        ca_key = self._shape.path("pki", "ca.key")
        account_key = self._shape.path("pki", "service-account.key")
        files += ((ca_key, self._authority.pair.key), (account_key, self._account_key))
        config: dict[str, Any] = {
            "name": manager.name,
            "client": client,
            "election": ELECTION,
            **self._group(self._layout.controller_managers.index(manager)),
            "own_accounts": True,
            "signing": {"certificate": client["ca"], "key": ca_key},
            "service_account_key": account_key,
            "root_ca": self._authority.pair.certificate.decode(),
        }
        config["pages"], page_files = self._pages(
            self._layout.controller_managers, manager, MANAGER_PORT
        )
        files += page_files
        components = [ComponentSpec("cluster.controllers.manager:ControllerManager", config)]
        if self._shape.metrics and manager is self._layout.controller_managers[0]:
            component, more = self._metrics(manager)
            components.append(component)
            files += more
        return self._spec(manager, "controller-manager", components, files)

    def _group(self, index: int) -> dict[str, Any]:
        """Of a manager: what it runs, and with whom it shares a lease."""
        listed = self._shape.controller_groups
        number = index // self._shape.controller_managers
        if number:
            return {"group": str(number), "controllers": listed[number - 1].split(",")}
        apart = [f"-{name}" for names in listed for name in names.split(",")]
        return {"controllers": ["*", "bootstrap-signer", "token-cleaner", *apart]}

    def _metrics(self, manager: Placed) -> tuple[ComponentSpec, tuple[tuple[str, bytes], ...]]:
        """One certificate for both: clients know it by the Service's name, kubelets by its user."""
        pair = self._authority.issue(METRICS_USER, names=[METRICS_HOST, manager.address])
        tls, files = self._identity("metrics-server", pair)
        front, front_files = self._front_proxy()
        config = {
            "name": "metrics-server",
            "address": f"{manager.address}:{METRICS_PORT}",
            "client": {"servers": self._layout.api_urls, **tls},
            "tls": tls,
            "request_header": front["request_header"],
        }
        return ComponentSpec("cluster.metrics.server:MetricsServer", config), files + front_files[
            :1
        ]

    def _pages(
        self, placed: Sequence[Placed], one: Placed, port: int
    ) -> tuple[dict[str, Any], tuple[tuple[str, bytes], ...]]:
        """Where one tells its metrics, and the files of its certificate."""
        pair = self._authority.issue(f"raykube:{one.name}", names=[one.address, "localhost"])
        tls, files = self._identity(f"{one.name}-server", pair)
        return {"address": f"{one.address}:{own_port(placed, one, port)}", "tls": tls}, files

    def _scheduler(self, scheduler: Placed) -> ActorSpec:
        client, files = self._client(scheduler.name, "system:kube-scheduler")
        config: dict[str, Any] = {"name": scheduler.name, "client": client, "election": ELECTION}
        config["configuration"] = self._shape.scheduler_configuration or None
        config["pages"], page_files = self._pages(
            self._layout.schedulers, scheduler, SCHEDULER_PORT
        )
        files += page_files
        component = ComponentSpec("cluster.scheduler.scheduler:Scheduler", config)
        return self._spec(scheduler, "scheduler", [component], files)

    def _extended(self, node: Placed) -> dict[str, str]:
        """The first node on a machine has what Ray says the machine has, GPUs for instance."""
        same = [each for each in self._layout.nodes if each.machine == node.machine]
        return ray_resources.extended(node.machine.resources) if same[0] == node else {}

    def _node(self, index: int, node: Placed) -> ActorSpec:
        kubelet_client, kubelet_files = self._client(
            node.name, f"system:node:{node.name}", ["system:nodes"]
        )
        proxy_client, proxy_files = self._client(f"{node.name}-proxy", "system:kube-proxy")
        dns_client, dns_files = self._client(f"{node.name}-dns", "system:dns")
        tls, server_files = self._identity(
            f"{node.name}-server",
            self._authority.issue(
                f"system:node:{node.name}", ["system:nodes"], names=[node.address, node.name]
            ),
        )
        kubelet = {
            "node_name": node.name,
            "node_ip": node.address,
            "port": own_port(self._layout.nodes, node, KUBELET_PORT),
            "client": kubelet_client,
            "data_dir": self._shape.node_folder(node.name),
            "pod_cidr": f"127.{self._shape.network}.{index + 1}.0/24",
            "cluster_dns": self._shape.dns_address,
            "cluster_domain": DOMAIN,
            "labels": {},
            "capacity": self._extended(node),
            "tls": tls,
            "rotate_certificates": True,
            "runtime": "process",
        }
        proxy = {"node_name": node.name, "client": proxy_client, "mode": "userspace"}
        dns = {
            "address": f"{self._shape.dns_address}:{DNS_PORT}",
            "domain": DOMAIN,
            "client": dns_client,
        }
        components = [
            ComponentSpec("cluster.kubelet.kubelet:Kubelet", kubelet),
            ComponentSpec("cluster.proxy.server:Proxy", proxy),
            ComponentSpec("cluster.dns.server:DnsServer", dns),
        ]
        files = kubelet_files + proxy_files + dns_files + server_files
        return self._spec(node, "node", components, files)

    def _fleet(self, fleet: Placed) -> ActorSpec:
        """Many simulated nodes in one process, at one address."""
        client, files = self._client(fleet.name, "system:simulated-nodes", ["system:nodes"])
        names = [fleet.address, fleet.name]
        tls, server_files = self._identity(
            fleet.name, self._authority.issue(f"raykube:{fleet.name}", names=names)
        )
        config = {
            "name": fleet.name,
            "client": client,
            "address": fleet.address,
            "port": own_port(self._layout.fleets, fleet, FLEET_PORT),
            "tls": tls,
        }
        component = ComponentSpec("cluster.kubelet.simulated.fleet:Fleet", config)
        return self._spec(fleet, "fleet", [component], files + server_files)


def own_port(placed: Sequence[Placed], one: Placed, port: int) -> int:
    """Instances that share a machine's only address are told apart by port, ten apart."""
    sharing = [other.name for other in placed if other.address == one.address]
    return port + 10 * sharing.index(one.name)


def store_address(members: Sequence[Placed], member: Placed, port: int) -> str:
    return f"{member.address}:{own_port(members, member, port)}"


def new_encryption() -> bytes:
    """An EncryptionConfiguration for secrets, with a fresh key."""
    name, key = secrets.token_hex(4), secrets.token_bytes(32)
    return encryption_document("aesgcm", name, key, ["secrets"]).encode()


def plan(shape: Shape, machines: Sequence[Machine], encryption: bytes = b"") -> Plan:
    """Everything about a cluster of this shape on these machines, with fresh certificates.

    `encryption`: the EncryptionConfiguration of a store that is restored.
    """
    authority = Authority.create(f"raykube-{shape.name}-ca")
    placed = layout(shape, machines)
    admin = authority.issue("kubernetes-admin", ["system:masters"])
    store_client = authority.issue("root", ["raykube:store"])
    actors = _Wiring(shape, placed, authority, encryption or new_encryption()).actors()
    return Plan(placed, actors, authority.pair, admin, store_client)
