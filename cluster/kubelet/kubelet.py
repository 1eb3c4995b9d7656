"""The kubelet component: follows the pods bound to its node and gives each a runner."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from actors.component import Config, Health
from actors.seams import Seams
from cluster.client import Client, ClientConfig, EventRecorder, Informer
from cluster.kubelet import (
    admission,
    machine,
    node_object,
    pod_status,
    pod_worker,
    rotation,
    static_pods,
    wiring,
)
from cluster.kubelet.authorization import DelegatedAuthorization
from cluster.kubelet.backoff import Limits
from cluster.kubelet.certificate_files import CertificateFile, Pair
from cluster.kubelet.cgroups import detection
from cluster.kubelet.cgroups.tree import Tree
from cluster.kubelet.eviction import thresholds
from cluster.kubelet.handlers import Handlers
from cluster.kubelet.images.local import LocalImages
from cluster.kubelet.node import Node
from cluster.kubelet.node_agent import NodeAgent, NodeFacts
from cluster.kubelet.pod_runner import PodRunner
from cluster.kubelet.references import References
from cluster.kubelet.rotation import Rotation
from cluster.kubelet.runtimes import choice, records
from cluster.kubelet.runtimes.base import Container
from cluster.kubelet.runtimes.interactive import Interactive
from cluster.kubelet.sandbox import Sandboxes
from cluster.kubelet.server import KubeletServer
from cluster.kubelet.static_pods import StaticPods
from cluster.kubelet.stats.pages import StatsPages
from cluster.kubelet.status_manager import StatusManager
from cluster.kubelet.tokens import Tokens
from cluster.kubelet.volumes.csi_drivers import CsiDrivers
from cluster.kubelet.volumes.local_holdings import LocalHoldings
from cluster.kubelet.volumes.local_store import LocalStore
from cluster.kubelet.volumes.manager import VolumeManager
from cluster.kubelet.volumes.plugin import Plugin
from cluster.kubelet.volumes.plugins.csi import Csi
from cluster.kubelet.volumes.plugins.empty_dir import EmptyDir
from cluster.kubelet.volumes.plugins.host_path import HostPath, Local
from cluster.kubelet.volumes.plugins.image import ImageVolume
from cluster.kubelet.volumes.plugins.local_driver import LocalDriver
from cluster.kubelet.volumes.plugins.nfs import Nfs
from cluster.kubelet.volumes.volume_loop import VolumeLoop
from cluster.machinery import meta

Object = dict[str, Any]

log = logging.getLogger(__name__)

DEFAULT_PORT = 10250
_SHORT_WAIT_S = 5.0


class Kubelet:
    """See docs/contracts.md, "node", for the config.

    Optional beside it: `port` (10250), `backoff_initial_s` and `backoff_max_s` (10, 300).
    """

    def __init__(self) -> None:
        self._runners: dict[str, PodRunner] = {}
        self._rejected: dict[str, tuple[str, str]] = {}
        self._cleanup: set[asyncio.Task[None]] = set()
        self._parts: list[Any] = []
        self._address: str | None = None

    @property
    def address(self) -> str | None:
        return self._address

    async def start(self, seams: Seams, config: Config) -> None:
        self._seams = seams
        self._name: str = config["node_name"]
        data_dir = os.path.abspath(config["data_dir"])
        os.makedirs(data_dir, mode=0o755, exist_ok=True)
        own = config.get("cgroups", choice.has_own_groups(config))
        groups = detection.open_tree(data_dir) if own else None
        self._runtime = choice.make(config, data_dir, seams, groups)
        await self._runtime.start(self._wake)
        pki = os.path.join(data_dir, "pki")
        own = _certificate(pki, "kubelet-client", config["client"])
        serving = _certificate(pki, "kubelet-server", config.get("tls") or {})
        identity = _with_current(config["client"], own)
        client = Client(ClientConfig.from_dict(identity), seams, f"kubelet/{self._name}")
        self._parts.append(client.close)
        self._node = self._make_node(seams, config, client, data_dir, groups)
        may = DelegatedAuthorization(client, seams, self._name).may
        interactive = self._runtime if isinstance(self._runtime, Interactive) else None
        self._server = KubeletServer(seams, self, may, interactive)
        self._parts.append(self._server.stop)
        usage = self._node.volumes.usage
        stats = StatsPages(seams, self._runtime, self.pod_objects, self._name, data_dir, usage)
        self._server.pages.update(stats.pages)
        port = int(config.get("port", DEFAULT_PORT))
        tls = _with_current(config.get("tls") or {}, serving)
        await self._server.start(config["node_ip"], port, tls)
        self._address = f"{config['node_ip']}:{self._server.port}"
        self._watch_resources(seams, config, data_dir)
        self._agent = self._start_agent(seams, config, client)
        self._statics = self._make_statics(seams, config, client)
        self._follow(client)
        self._statics.start()
        if config.get("rotate_certificates"):
            self._rotate(client, own, serving, config["node_ip"])

    def _rotate(
        self,
        client: Client,
        own: CertificateFile | None,
        serving: CertificateFile | None,
        address: str,
    ) -> None:
        """Renew both certificates in time, for as long as this kubelet runs."""

        def as_client(pair: Pair) -> None:
            client.use_certificate(pair.cert, pair.key)

        def as_server(pair: Pair) -> None:
            self._server.use_certificate(pair.cert, pair.key)

        name, found = self._name, []
        if own is not None:
            wanted = rotation.client(name)
            found.append(Rotation(client, self._seams, own, wanted, as_client))
        if serving is not None:
            wanted = rotation.serving(name, (address, name))
            found.append(Rotation(client, self._seams, serving, wanted, as_server))
        task = asyncio.create_task(rotation.run_all(found), name="certificates")

        async def stop() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._parts.append(stop)

    def _make_node(
        self, seams: Seams, config: Config, client: Client, data_dir: str, groups: Tree | None
    ) -> Node:
        self._capacity = machine.capacity(config.get("capacity") or {}, data_dir)
        reserved = [config.get("kube_reserved") or {}, config.get("system_reserved") or {}]
        for_all_pods = machine.allocatable(self._capacity, reserved)
        kept = thresholds.kept_free(thresholds.parse(config), self._capacity)
        capacity = machine.allocatable(self._capacity, [*reserved, kept])
        own = {choice.LABEL: config.get("runtime", "process")}
        self._more_labels = own | dict(config.get("labels") or {})
        self._labels = node_object.labels(self._name, self._more_labels)
        sandboxes = Sandboxes(
            data_dir,
            pod_cidr=config["pod_cidr"],
            node_ip=config["node_ip"],
            cluster_dns=config.get("cluster_dns", ""),
            domain=config.get("cluster_domain", "cluster.local"),
        )
        sandboxes.load()
        events = EventRecorder(client, seams, "kubelet", self._name)
        events.start()
        statuses = StatusManager(client, seams)
        self._parts += [events.stop, statuses.stop]
        initial_s = float(config.get("backoff_initial_s", 10.0))
        self._images = wiring.images(self._runtime, seams, config, events)
        if self._images is not None:
            self._parts += [self._images.manager.stop, self._images.collector.stop]
        self._services = Informer(client, "services")
        return Node(
            name=self._name,
            ip=config["node_ip"],
            data_dir=data_dir,
            client=client,
            seams=seams,
            runtime=self._runtime,
            sandboxes=sandboxes,
            volumes=self._make_volumes(client, data_dir, capacity),
            references=References(client, self._references_changed),
            tokens=Tokens(client, seams),
            statuses=statuses,
            events=events,
            handlers=Handlers(self._runtime, seams),
            limits=Limits(initial_s, float(config.get("backoff_max_s", 300.0))),
            allocatable=capacity,
            services=self._services.list,
            images=self._images.manager if self._images is not None else None,
            refusal=self._resize_refusal,
            groups=wiring.pod_groups(groups, for_all_pods, config),
        )

    def _make_volumes(
        self, client: Client, data_dir: str, allocatable: Mapping[str, str]
    ) -> VolumeManager:
        store = LocalStore(data_dir)
        self._holdings = LocalHoldings(client, self._name, store)
        selector = f"metadata.name={self._name}"
        self._own_node = Informer(client, "nodes", field_selector=selector)
        self._csi_objects = Informer(client, "csidrivers.storage.k8s.io")
        registry = os.path.join(data_dir, "plugins_registry")
        self._drivers = CsiDrivers(client, self._seams, self._name, registry, self._drivers_changed)
        local = LocalDriver(store, self._holdings.announce)
        csi = Csi(data_dir, client, self._drivers, self._csi_objects, self._node_now)
        plugins: list[Plugin] = [HostPath(), EmptyDir(allocatable), Local(), Nfs(), local, csi]
        if isinstance(images := self._runtime.images, LocalImages):
            plugins.append(ImageVolume(images))
        return VolumeManager(data_dir, allocatable, plugins, client, self._node_now)

    def _drivers_changed(self) -> None:
        for runner in self._runners.values():
            runner.volumes_changed()

    def _node_now(self) -> Object:
        own = {"metadata": {"name": self._name, "labels": self._labels}}
        return self._own_node.get(self._name) or own

    def _start_agent(self, seams: Seams, config: Config, client: Client) -> NodeAgent:
        ipaddress.ip_network(config["pod_cidr"])
        facts = NodeFacts(
            name=self._name,
            ip=config["node_ip"],
            port=self._server.port,
            pod_cidr=config["pod_cidr"],
            labels=self._more_labels,
            capacity=self._capacity,
            allocatable=self._node.allocatable,
            runtime=f"{self._runtime.name}://{self._runtime.version}",
            problem=lambda: self._runtime.problem or self._shutdown.problem,
            images=self._images.report if self._images is not None else None,
        )
        agent = NodeAgent(
            client,
            seams,
            facts,
            lease_s=float(config.get("lease_s", 40.0)),
            status_s=float(config.get("status_s", 60.0)),
            pressure=lambda: self._evictions.conditions,
        )
        agent.start()
        self._parts.append(agent.stop)
        return agent

    def _watch_resources(self, seams: Seams, config: Config, data_dir: str) -> None:
        """What may end pods on the node's own account."""

        async def report() -> None:
            await self._agent.report()

        def runners() -> list[PodRunner]:
            return list(self._runners.values())

        self._evictions = wiring.evictions(
            seams, config, data_dir, self._runtime, runners, report, self._make_room
        )
        self._shutdown = wiring.shutdown(seams, config, data_dir, runners, report)
        self._parts += [self._evictions.stop, self._shutdown.stop]
        if (shipper := wiring.shipper(seams, config, data_dir)) is not None:
            shipper.start()
            self._parts.append(shipper.stop)

    def _make_statics(self, seams: Seams, config: Config, client: Client) -> StaticPods:
        statics = StaticPods(
            config.get("static_pod_path") or os.path.join(self._node.data_dir, "manifests"),
            self._name,
            client,
            seams,
            lambda: self._own_node.get(self._name),
            self._add_static,
            self._remove_static,
            float(config.get("static_pod_period_s", 5.0)),
        )
        self._parts.append(statics.stop)
        return statics

    async def _make_room(self) -> None:
        """On the disk: images that no container is of, containers that were replaced."""
        for runner in list(self._runners.values()):
            await runner.drop_old_attempts(keep=1)
        if self._images is not None:
            await self._images.collector.free(sys.maxsize)

    def _follow(self, client: Client) -> None:
        selector = f"spec.nodeName={self._name}"
        self._pods = Informer(client, "pods", field_selector=selector)
        self._parts += [self._services.stop, self._pods.stop, self._own_node.stop]
        self._services.start()
        self._pods.start()
        self._own_node.start()
        self._csi_objects.start()
        self._drivers.start()
        self._parts += [self._csi_objects.stop, self._drivers.stop]
        self._volume_loop = VolumeLoop(
            self._seams, self._own_node, self._holdings, self._node.volumes, self._runners.values
        )
        self._volume_loop.start()
        self._parts.append(self._volume_loop.stop)
        self._starter = asyncio.create_task(self._begin(), name="kubelet begin")

    async def _begin(self) -> None:
        """Pods are touched only once the API has said which there are."""
        with contextlib.suppress(TimeoutError):  # pods do not wait for services for ever
            await asyncio.wait_for(self._services.synced(), _SHORT_WAIT_S)
        await self._pods.synced()
        self._pods.subscribe(self._on_pod)
        known = {pod["metadata"]["uid"] for pod in self._pods.list()}
        on_disk = records.pod_uids(self._node.data_dir)
        here = {*self._runtime.pod_uids(), *self._node.sandboxes.uids(), *on_disk}
        if self._node.groups is not None:
            here |= set(self._node.groups.uids())
        for uid in here - known - set(self._statics.pods):
            self._end_orphan(uid)
        self._statics.api_is_known()
        self._evictions.start()
        self._shutdown.start()

    def _end_orphan(self, uid: str) -> None:
        """A pod that was deleted while no kubelet ran here: what is left of it is ended."""
        names = {c.name for c in self._runtime.containers(uid)}
        pod = {
            "metadata": {"name": "orphan", "namespace": "default", "uid": uid},
            "spec": {"containers": [{"name": name} for name in sorted(names)]},
        }
        log.info("pod %s is not known to the API any more: ending it", uid)
        self._runners[uid] = PodRunner(self._node, pod, self._released)
        self._runners[uid].gone()

    def _on_pod(self, kind: str, old: Object | None, new: Object | None) -> None:
        pod = new or old
        assert pod is not None
        if static_pods.is_mirror(pod):
            self._on_mirror(kind, pod)
            return
        uid = pod["metadata"]["uid"]
        runner = self._runners.get(uid)
        if kind == "delete":
            self._rejected.pop(uid, None)
            if runner is not None:
                runner.gone()
        elif runner is not None:
            runner.update(pod)
        elif self._admit(pod):
            self._runners[uid] = PodRunner(self._node, pod, self._released)
            self._balance_groups()

    def _on_mirror(self, kind: str, pod: Object) -> None:
        self._statics.saw_mirror(kind, pod)
        for uid in self._statics.pods:
            if uid in self._runners:
                self._runners[uid].wake()

    def _add_static(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if uid in self._runners:
            return  # it is ending, and comes again when it has ended
        self._runners[uid] = PodRunner(
            self._node, pod, self._released, lambda: self._statics.mirror_of(uid)
        )
        self._balance_groups()

    def _remove_static(self, uid: str) -> None:
        if (runner := self._runners.get(uid)) is not None:
            now = meta.format_time(self._seams.clock.wall())
            metadata = runner.pod["metadata"] | {"deletionTimestamp": now}
            runner.update(runner.pod | {"metadata": metadata})

    def _balance_groups(self) -> None:
        if self._node.groups is None:
            return
        pods = [r.allotted for r in self._runners.values() if not pod_worker.is_terminal(r.pod)]
        try:
            self._node.groups.balance(pods)
        except OSError as error:
            log.warning("the shares of the pods' classes: %s", error)

    def _admit(self, pod: Object) -> bool:
        """Whether the pod may run here; if not, that has been reported."""
        uid = pod["metadata"]["uid"]
        is_new = not self._runtime.containers(uid)
        if is_new and not pod_worker.is_terminal(pod) and uid not in self._rejected:
            used, capacity = self._used(), admission.amounts(self._node.allocatable)
            refusal = admission.refusal(pod, used, self._labels, capacity)
            refusal = refusal or self._evictions.refusal(pod) or self._shutdown.refusal
            if refusal is not None:
                self._rejected[uid] = refusal
        if uid in self._rejected and not pod["metadata"].get("deletionTimestamp"):
            self._reject(pod, *self._rejected[uid])
            return False
        return True

    def _used(self, without: str = "") -> dict[str, int]:
        """What the pods that are here have been given, but the one with this uid."""
        runners = [r for uid, r in self._runners.items() if uid != without]
        return admission.used_by(r.allotted for r in runners if not pod_worker.is_terminal(r.pod))

    def _resize_refusal(self, pod: Object) -> tuple[str, str] | None:
        capacity = admission.amounts(self._node.allocatable)
        return admission.resize_refusal(pod, self._used(pod["metadata"]["uid"]), capacity)

    def _reject(self, pod: Object, reason: str, message: str) -> None:
        if pod_worker.is_terminal(pod):
            return
        subject = {"kind": "Pod", "apiVersion": "v1"} | pod
        self._node.events.event(subject, "Warning", reason, message)
        now_s = self._seams.clock.wall()
        self._node.statuses.set(pod, pod_status.rejected(pod, reason, message, now_s))

    def _wake(self, uid: str) -> None:
        if (runner := self._runners.get(uid)) is not None:
            runner.wake()

    def _references_changed(self, namespace: str) -> None:
        for runner in self._runners.values():
            if runner.pod["metadata"].get("namespace") == namespace:
                runner.references_changed()

    def _released(self, uid: str) -> None:
        self._runners.pop(uid, None)
        self._rejected.pop(uid, None)
        if (static := self._statics.pods.get(uid)) is not None:
            self._add_static(static)
        self._balance_groups()
        for runner in self._runners.values():
            runner.wake()  # what it could not have may be free now
        used = {r.pod["metadata"].get("namespace", "default") for r in self._runners.values()}
        task = asyncio.create_task(self._node.references.keep_only(used), name="references")
        self._cleanup.add(task)
        task.add_done_callback(self._cleanup.discard)

    def pod_objects(self) -> list[Object]:
        return [runner.pod for runner in self._runners.values()]

    def container_attempts(self, namespace: str, pod: str, name: str) -> Sequence[Container] | None:
        runner = self._runner(namespace, pod)
        if runner is None:
            return None
        names = {c["name"] for c in pod_worker.all_containers(runner.pod)}
        return runner.containers(name) if name in names else None

    def pod_address(self, namespace: str, pod: str) -> str:
        runner = self._runner(namespace, pod)
        return self._node.sandboxes.address(runner.uid) if runner is not None else ""

    def _runner(self, namespace: str, pod: str) -> PodRunner | None:
        for runner in self._runners.values():
            metadata = runner.pod["metadata"]
            if (metadata.get("namespace"), metadata["name"]) == (namespace, pod):
                return runner
        return None

    async def stop(self) -> None:
        """The containers go on: the next kubelet on this data folder adopts them."""
        if starter := getattr(self, "_starter", None):
            starter.cancel()
            await asyncio.gather(starter, return_exceptions=True)
        await asyncio.gather(*(runner.stop() for runner in list(self._runners.values())))
        if node := getattr(self, "_node", None):
            await node.references.keep_only(set())
        for stop in reversed(self._parts):
            await stop()
        if runtime := getattr(self, "_runtime", None):
            await runtime.stop()

    async def health(self) -> Health:
        ready = self._agent.registered.is_set() and self._pods.has_synced
        detail = "" if ready else "waiting for the API server"
        return Health(ready, detail, {"pods": len(self._runners)})


def _certificate(folder: str, name: str, files: Mapping[str, Any]) -> CertificateFile | None:
    """None where there is no certificate at all, or it is given as text."""
    cert, key = str(files.get("cert") or ""), str(files.get("key") or "")
    return CertificateFile(folder, name, cert, key) if os.path.isfile(cert) else None


def _with_current(files: Mapping[str, Any], kept: CertificateFile | None) -> dict[str, Any]:
    """With the certificate that is valid the longest."""
    if kept is None:
        return dict(files)
    current = kept.current()
    return {**files, "cert": current.cert, "key": current.key}
