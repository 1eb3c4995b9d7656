"""From a shape and machines to the actors to run."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from actors.component import ActorSpec
from actors.placement import Machine
from cluster.compose.control import manager_actor, scheduler_actor
from cluster.compose.layout import Layout, layout
from cluster.compose.nodes import fleet_actor, node_actor
from cluster.compose.servers import api_server_actor
from cluster.compose.shape import Shape
from cluster.compose.store import member_actor
from cluster.compose.wiring import Wiring
from cluster.pki import Authority, KeyPair
from cluster.storage.encryption.config import document as encryption_document


@dataclass(frozen=True)
class Plan:
    """The actors to run, and what the person's kubeconfig needs."""

    layout: Layout
    actors: tuple[ActorSpec, ...]
    authority: KeyPair
    admin: KeyPair
    store_client: KeyPair
    """Of the user root, for clients of the members and of their gateways."""


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
    wiring = Wiring(shape, placed, authority, encryption or new_encryption())
    return Plan(placed, _actors(wiring), authority.pair, admin, store_client)


def _actors(wiring: Wiring) -> tuple[ActorSpec, ...]:
    placed = wiring.layout
    return (
        *(member_actor(wiring, member) for member in placed.members),
        *(api_server_actor(wiring, server) for server in placed.api_servers),
        *(manager_actor(wiring, manager) for manager in placed.controller_managers),
        *(scheduler_actor(wiring, scheduler) for scheduler in placed.schedulers),
        *(node_actor(wiring, index, node) for index, node in enumerate(placed.nodes)),
        *(fleet_actor(wiring, fleet) for fleet in placed.fleets),
    )
