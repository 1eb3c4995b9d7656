"""The controller manager: one of several replicas leads and runs the controllers."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from actors.component import Config
from actors.seams import Seams
from cluster.client import Client, ClientConfig, Elected
from cluster.controllers.accounts import Accounts
from cluster.controllers.admission_policy_status import AdmissionPolicyStatus
from cluster.controllers.attach_detach import AttachDetach
from cluster.controllers.bootstrap_tokens import BootstrapSigner, TokenCleaner
from cluster.controllers.certificates import (
    CertificateApprover,
    CertificateCleaner,
    CertificateSigner,
)
from cluster.controllers.clusterrole_aggregation import ClusterRoleAggregation
from cluster.controllers.cronjob import CronJobController
from cluster.controllers.csi_attacher import CsiAttacher
from cluster.controllers.csi_capacity import CsiCapacity
from cluster.controllers.csi_provisioner import CsiProvisioner
from cluster.controllers.csi_resizer import CsiResizer
from cluster.controllers.csi_snapshotter import CsiSnapshotter
from cluster.controllers.daemonset import DaemonSetController
from cluster.controllers.deployment import DeploymentController
from cluster.controllers.disruption import DisruptionController
from cluster.controllers.endpoints import EndpointsController
from cluster.controllers.endpointslice import EndpointSliceController
from cluster.controllers.endpointslice_mirroring import EndpointSliceMirroring
from cluster.controllers.ephemeral_volume import EphemeralVolumeController
from cluster.controllers.framework import Context, Controller, Runner
from cluster.controllers.garbage_collector import GarbageCollector
from cluster.controllers.horizontal_pod_autoscaler import HorizontalPodAutoscalerController
from cluster.controllers.informers import Informers
from cluster.controllers.job import JobController
from cluster.controllers.legacy_tokens import LegacyTokenCleaner
from cluster.controllers.local_volumes import LocalVolumeProvisioner
from cluster.controllers.namespace import NamespaceController
from cluster.controllers.node_ipam import NodeIpamController
from cluster.controllers.node_lifecycle import NodeLifecycleController
from cluster.controllers.persistent_volume_binder import PersistentVolumeBinder
from cluster.controllers.pod_gc import PodGarbageCollector
from cluster.controllers.replicaset import ReplicaSetController, ReplicationController
from cluster.controllers.resource_claims import ResourceClaimController
from cluster.controllers.resourcequota import ResourceQuotaController
from cluster.controllers.root_ca import RootCaPublisher
from cluster.controllers.service_account_tokens import ServiceAccountTokens
from cluster.controllers.service_cidrs import ServiceCidrController
from cluster.controllers.serviceaccount import ServiceAccountController
from cluster.controllers.statefulset import StatefulSetController
from cluster.controllers.taint_eviction import TaintEvictionController
from cluster.controllers.ttl_after_finished import TtlAfterFinishedController
from cluster.controllers.volume_expander import VolumeExpander
from cluster.controllers.volume_protection import ClaimProtection, VolumeProtection

CONTROLLERS: tuple[type[Controller], ...] = (
    AdmissionPolicyStatus,
    AttachDetach,
    BootstrapSigner,
    CertificateApprover,
    CertificateCleaner,
    CertificateSigner,
    ClaimProtection,
    ClusterRoleAggregation,
    CronJobController,
    CsiAttacher,
    CsiCapacity,
    CsiProvisioner,
    CsiResizer,
    CsiSnapshotter,
    DaemonSetController,
    DeploymentController,
    DisruptionController,
    EndpointSliceController,
    EndpointSliceMirroring,
    EndpointsController,
    EphemeralVolumeController,
    GarbageCollector,
    HorizontalPodAutoscalerController,
    JobController,
    LegacyTokenCleaner,
    LocalVolumeProvisioner,
    NamespaceController,
    NodeIpamController,
    NodeLifecycleController,
    PersistentVolumeBinder,
    PodGarbageCollector,
    ReplicaSetController,
    ReplicationController,
    ResourceClaimController,
    ResourceQuotaController,
    RootCaPublisher,
    ServiceAccountController,
    ServiceAccountTokens,
    ServiceCidrController,
    StatefulSetController,
    TaintEvictionController,
    TokenCleaner,
    TtlAfterFinishedController,
    VolumeExpander,
    VolumeProtection,
)


CSI = (CsiAttacher, CsiCapacity, CsiProvisioner, CsiResizer, CsiSnapshotter)
"""Speak to drivers: only where a folder for the drivers' sockets is given."""

OFF_BY_DEFAULT = frozenset({BootstrapSigner.name, TokenCleaner.name})
"""As upstream: "*" does not mean these."""


def chosen(names: Iterable[str]) -> list[type[Controller]]:
    """As `--controllers`: "*" is all, "-NAME" leaves one out. Raises ValueError for others."""
    wanted = set(names)
    known = {kind.name for kind in CONTROLLERS}
    if unknown := {name.removeprefix("-") for name in wanted} - known - {"*"}:
        raise ValueError(f"unknown controllers: {', '.join(sorted(unknown))}")
    every = "*" in wanted
    return [
        kind
        for kind in CONTROLLERS
        if f"-{kind.name}" not in wanted
        and (kind.name in wanted or (every and kind.name not in OFF_BY_DEFAULT))
    ]


class ControllerManager(Elected):
    """Config beside `Elected`'s: controllers, node_grace_s, eviction_toleration_s, root_ca (PEM;
    by default the client's CA), signing (files of the authority: certificate, key; without them
    nothing is signed), service_account_key (a file: signs tokens that secrets hold), own_accounts
    (whether each acts as its own account), csi_folder (where CSI drivers put their sockets; no
    CSI without it), default_storage_class (whether to make the class `local`), node_ipam
    (see `node_ipam`; off without it),
    group (managers of another group elect among themselves: they run other controllers)."""

    lease_name = "kube-controller-manager"

    def __init__(self) -> None:
        super().__init__()
        self._running: list[Controller] = []

    async def start(self, seams: Seams, config: Config) -> None:
        if config.get("group"):
            self.lease_name = f"{type(self).lease_name}-{config['group']}"
        self._kinds = chosen(config.get("controllers") or ["*"])
        root_ca = config.get("root_ca") or _bundle(ClientConfig.from_dict(config["client"]))
        self._config = {**config, "root_ca": root_ca}
        if not root_ca:
            self._kinds = [kind for kind in self._kinds if kind is not RootCaPublisher]
        if not config.get("signing"):
            self._kinds = [kind for kind in self._kinds if kind is not CertificateSigner]
        if not config.get("service_account_key"):
            self._kinds = [kind for kind in self._kinds if kind is not ServiceAccountTokens]
        if not (config.get("node_ipam") or {}).get("cluster_cidrs"):
            self._kinds = [kind for kind in self._kinds if kind is not NodeIpamController]
        if not config.get("csi_folder"):
            self._kinds = [kind for kind in self._kinds if kind not in CSI]
        await super().start(seams, config)

    def facts(self) -> Mapping[str, Any]:
        return {
            "controllers": {
                controller.name: {**vars(controller.metrics), "queued": len(controller.queue)}
                for controller in self._running
            }
        }

    def metrics(self) -> Iterable[str]:
        for controller in self._running:
            yield from controller.lines()

    async def lead(self, client: Client) -> None:
        """With informers of its own term: a new leader must not decide on an old view."""
        informers = Informers(client)
        context = Context(client, self._seams, informers, self._config)
        accounts = Accounts(client, self._seams)
        try:
            if self._config.get("own_accounts"):
                await accounts.open(kind.account for kind in self._kinds if kind.account)
            self._running = [kind(self._acting(context, accounts, kind)) for kind in self._kinds]
            async with asyncio.TaskGroup() as group:
                for controller in self._running:
                    group.create_task(Runner(controller).run(), name=controller.name)
                group.create_task(accounts.run(), name="tokens")
        finally:
            self._running = []
            await informers.stop()
            await accounts.close()

    def _acting(self, context: Context, accounts: Accounts, kind: type[Controller]) -> Context:
        if not self._config.get("own_accounts") or not kind.account:
            return context
        return dataclasses.replace(context, client=accounts.client(kind.account))


def _bundle(config: ClientConfig) -> str:
    if not config.ca or config.ca.lstrip().startswith("-----BEGIN"):
        return config.ca
    return Path(config.ca).read_text()
