"""Controller managers (the first with the metrics server) and schedulers."""

from __future__ import annotations

from typing import Any

from actors.component import ActorSpec, ComponentSpec
from cluster.compose.layout import MANAGER_PORT, METRICS_PORT, SCHEDULER_PORT, Placed
from cluster.compose.wiring import ELECTION, Files, Wiring
from cluster.metrics.registration import HOST as METRICS_HOST

METRICS_USER = "system:metrics-server"


def manager_actor(wiring: Wiring, manager: Placed) -> ActorSpec:
    client, files = wiring.client(manager.name, "system:kube-controller-manager")
    ca_key = wiring.shape.path("pki", "ca.key")
    account_key = wiring.shape.path("pki", "service-account.key")
    files += ((ca_key, wiring.authority.pair.key), (account_key, wiring.account_key))
    config: dict[str, Any] = {
        "name": manager.name,
        "client": client,
        "election": ELECTION,
        **_group(wiring, wiring.layout.controller_managers.index(manager)),
        "own_accounts": True,
        "default_storage_class": True,
        "csi_folder": wiring.shape.path("csi"),
        "signing": {"certificate": client["ca"], "key": ca_key},
        "service_account_key": account_key,
        "root_ca": wiring.authority.pair.certificate.decode(),
    }
    config["pages"], page_files = wiring.pages(
        wiring.layout.controller_managers, manager, MANAGER_PORT
    )
    files += page_files
    components = [ComponentSpec("cluster.controllers.manager:ControllerManager", config)]
    if wiring.shape.metrics and manager is wiring.layout.controller_managers[0]:
        component, more = _metrics(wiring, manager)
        components.append(component)
        files += more
    return wiring.spec(manager, "controller-manager", components, files)


def _group(wiring: Wiring, index: int) -> dict[str, Any]:
    """Of a manager: what it runs, and with whom it shares a lease."""
    listed = wiring.shape.controller_groups
    number = index // wiring.shape.controller_managers
    if number:
        return {"group": str(number), "controllers": listed[number - 1].split(",")}
    apart = [f"-{name}" for names in listed for name in names.split(",")]
    return {"controllers": ["*", "bootstrap-signer", "token-cleaner", *apart]}


def _metrics(wiring: Wiring, manager: Placed) -> tuple[ComponentSpec, Files]:
    """One certificate for both: clients know it by the Service's name, kubelets by its user."""
    pair = wiring.authority.issue(METRICS_USER, names=[METRICS_HOST, manager.address])
    tls, files = wiring.identity("metrics-server", pair)
    front, front_files = wiring.front_proxy()
    config = {
        "name": "metrics-server",
        "address": f"{manager.address}:{METRICS_PORT}",
        "client": {"servers": wiring.layout.api_urls, **tls},
        "tls": tls,
        "request_header": front["request_header"],
    }
    component = ComponentSpec("cluster.metrics.server:MetricsServer", config)
    return component, files + front_files[:1]


def scheduler_actor(wiring: Wiring, scheduler: Placed) -> ActorSpec:
    client, files = wiring.client(scheduler.name, "system:kube-scheduler")
    config: dict[str, Any] = {"name": scheduler.name, "client": client, "election": ELECTION}
    config["configuration"] = wiring.shape.scheduler_configuration or None
    config["pages"], page_files = wiring.pages(wiring.layout.schedulers, scheduler, SCHEDULER_PORT)
    files += page_files
    component = ComponentSpec("cluster.scheduler.scheduler:Scheduler", config)
    return wiring.spec(scheduler, "scheduler", [component], files)
