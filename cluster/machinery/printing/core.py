"""Rows of nodes, namespaces, configuration, events and leases."""

from __future__ import annotations

from typing import Any

from cluster.machinery import meta
from cluster.machinery.conversion import events
from cluster.machinery.printing.columns import AGE, NAME, NONE, Cells, Column, Printer
from cluster.machinery.printing.duration import UNKNOWN, age, since

ROLE_PREFIX = "node-role.kubernetes.io/"


def _node(obj: meta.Object, now_s: float) -> Cells:
    info = obj.get("status", {}).get("nodeInfo", {})
    return [
        obj["metadata"]["name"],
        _node_status(obj),
        _roles(obj["metadata"].get("labels") or {}),
        age(obj, now_s),
        info.get("kubeletVersion", ""),
        _address(obj, "InternalIP"),
        _address(obj, "ExternalIP"),
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _node_status(obj: meta.Object) -> str:
    ready = (meta.condition(obj, "Ready") or {}).get("status")
    words = ["Unknown" if ready is None else "Ready" if ready == "True" else "NotReady"]
    if obj.get("spec", {}).get("unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _roles(labels: dict[str, str]) -> str:
    roles = {key.removeprefix(ROLE_PREFIX) for key in labels if key.startswith(ROLE_PREFIX)}
    if labels.get("kubernetes.io/role"):
        roles.add(labels["kubernetes.io/role"])
    return ",".join(sorted(roles)) or NONE


def _address(obj: meta.Object, type_: str) -> str:
    for address in obj.get("status", {}).get("addresses") or []:
        if address["type"] == type_:
            return str(address["address"])
    return NONE


def _namespace(obj: meta.Object, now_s: float) -> Cells:
    return [obj["metadata"]["name"], obj.get("status", {}).get("phase", ""), age(obj, now_s)]


def _config_map(obj: meta.Object, now_s: float) -> Cells:
    count = len(obj.get("data") or {}) + len(obj.get("binaryData") or {})
    return [obj["metadata"]["name"], count, age(obj, now_s)]


def _secret(obj: meta.Object, now_s: float) -> Cells:
    kind = obj.get("type", "Opaque")
    return [obj["metadata"]["name"], kind, len(obj.get("data") or {}), age(obj, now_s)]


def _service_account(obj: meta.Object, now_s: float) -> Cells:
    return [obj["metadata"]["name"], len(obj.get("secrets") or []), age(obj, now_s)]


def _lease(obj: meta.Object, now_s: float) -> Cells:
    holder = obj.get("spec", {}).get("holderIdentity") or ""
    return [obj["metadata"]["name"], holder, age(obj, now_s)]


def _event(obj: meta.Object, now_s: float) -> Cells:
    if obj["apiVersion"] == events.NEW:
        obj = events.to_core(obj)
    about: dict[str, Any] = obj.get("involvedObject") or {}
    series: dict[str, Any] = obj.get("series") or {}
    started = obj.get("firstTimestamp") or obj.get("eventTime")
    last = series.get("lastObservedTime") or obj.get("lastTimestamp") or started
    source: dict[str, Any] = obj.get("source") or {}
    reporter = [
        source.get("component") or obj.get("reportingComponent") or "",
        source.get("host") or obj.get("reportingInstance") or "",
    ]
    return [
        since(last, now_s),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{about.get('kind', '').lower()}/{about.get('name', '')}",
        about.get("fieldPath", ""),
        ", ".join(filter(None, reporter)),
        (obj.get("message") or "").strip(),
        since(started, now_s),
        series.get("count") or obj.get("count") or 1,
        obj["metadata"]["name"],
    ]


_EVENT = Printer(
    (Column("Last Seen"), Column("Type"), Column("Reason"), Column("Object"),
     Column("Subobject", wide=True), Column("Source", wide=True), Column("Message"),
     Column("First Seen", wide=True), Column("Count", "integer", wide=True),
     Column("Name", wide=True, format="name")), _event)  # fmt: skip

PRINTERS = {
    "nodes": Printer(
        (NAME, Column("Status"), Column("Roles"), AGE, Column("Version"),
         Column("Internal-IP", wide=True), Column("External-IP", wide=True),
         Column("OS-Image", wide=True), Column("Kernel-Version", wide=True),
         Column("Container-Runtime", wide=True)), _node),
    "namespaces": Printer((NAME, Column("Status"), AGE), _namespace),
    "configmaps": Printer((NAME, Column("Data", "integer"), AGE), _config_map),
    "secrets": Printer((NAME, Column("Type"), Column("Data", "integer"), AGE), _secret),
    "serviceaccounts": Printer((NAME, Column("Secrets", "integer"), AGE), _service_account),
    "leases.coordination.k8s.io": Printer((NAME, Column("Holder"), AGE), _lease),
    "events": _EVENT,
    "events.events.k8s.io": _EVENT,
}  # fmt: skip
