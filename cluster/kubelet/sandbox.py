"""What a pod has before any container runs: its address, host name, hosts file and resolv.conf."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Sequence
from typing import Any

from cluster.kubelet.runtimes.base import Mount
from cluster.kubelet.runtimes.helpers.shim import write_json

Object = dict[str, Any]

_FIRST_HOST = 2  # .1 is the node itself


class AddressesExhausted(Exception):
    """Every address of the node's pod range is in use."""


class Sandboxes:
    """Addresses are kept in `DATA/pods/UID/pod.json`: a pod has the same one for all its life."""

    def __init__(
        self, data_dir: str, *, pod_cidr: str, node_ip: str, cluster_dns: str, domain: str
    ) -> None:
        self._folder = os.path.join(data_dir, "pods")
        self._network = ipaddress.ip_network(pod_cidr)
        self._node_ip = node_ip
        self._dns = cluster_dns
        self._domain = domain
        self._by_uid: dict[str, str] = {}
        self._next = _FIRST_HOST

    def load(self) -> None:
        os.makedirs(self._folder, exist_ok=True)
        for uid in os.listdir(self._folder):
            record = os.path.join(self._folder, uid, "pod.json")
            if os.path.exists(record):
                with open(record) as file:
                    self._by_uid[uid] = json.load(file)["ip"]

    def uids(self) -> list[str]:
        """Every pod that has something on this node's disk."""
        return list(self._by_uid)

    def address(self, uid: str) -> str:
        return self._by_uid.get(uid, "")

    def set_up(self, pod: Object, given: str = "") -> str:
        """The pod's address: what the runtime has `given` it, or one of ours. Writes its files."""
        uid = pod["metadata"]["uid"]
        ip = self._by_uid.get(uid)
        folder = os.path.join(self._folder, uid, "etc")
        os.makedirs(folder, exist_ok=True)
        if ip is None or (given and given != ip):
            ip = given or (self._node_ip if pod["spec"].get("hostNetwork") else self._allocate())
            record = {"ip": ip, "namespace": pod["metadata"].get("namespace", "default")}
            record["name"] = pod["metadata"]["name"]
            write_json(os.path.join(self._folder, uid, "pod.json"), record)
            self._by_uid[uid] = ip
            self._write_files(pod, ip, folder)
        return ip

    def _allocate(self) -> str:
        """Round the range, so that an address rests for as long as possible before its reuse."""
        used = set(self._by_uid.values())
        count = self._network.num_addresses - 1 - _FIRST_HOST
        for step in range(count):
            offset = _FIRST_HOST + (self._next - _FIRST_HOST + step) % count
            ip = str(self._network[offset])
            if ip not in used:
                self._next = offset + 1
                return ip
        raise AddressesExhausted(f"no free address left in {self._network}")

    def release(self, uid: str) -> None:
        self._by_uid.pop(uid, None)

    def mounts(self, pod: Object) -> Sequence[Mount]:
        folder = os.path.join(self._folder, pod["metadata"]["uid"], "etc")
        names = ("hosts", "hostname", "resolv.conf")
        return [Mount(os.path.join(folder, name), f"/etc/{name}") for name in names]

    def _write_files(self, pod: Object, ip: str, folder: str) -> None:
        resolver = _host_file("/etc/resolv.conf")
        files = {
            "hosts": hosts_file(pod, ip, self._domain, _host_file("/etc/hosts")),
            "hostname": hostname(pod) + "\n",
            "resolv.conf": resolv_conf(pod, self._dns, self._domain, resolver),
        }
        for name, text in files.items():
            with open(os.path.join(folder, name), "w") as file:
                file.write(text)


def _host_file(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        return ""


def hostname(pod: Object) -> str:
    """At most 63 characters, as the kernel and upstream want it."""
    return str(pod["spec"].get("hostname") or pod["metadata"]["name"])[:63].rstrip("-.")


def hosts_file(pod: Object, ip: str, domain: str, host: str = "") -> str:
    """The pod's own names; with the host's network those of the `host`. Aliases come last."""
    if pod["spec"].get("hostNetwork"):
        lines = ["# Kubernetes-managed hosts file (host network).", *host.splitlines()]
    else:
        lines = ["# Kubernetes-managed hosts file.", "127.0.0.1\tlocalhost", "::1\tlocalhost"]
        lines.append("\t".join([ip, *_names(pod, domain)]))
    for alias in pod["spec"].get("hostAliases") or ():
        lines.append("\t".join([alias["ip"], *(alias.get("hostnames") or ())]))
    return "\n".join(lines) + "\n"


def _names(pod: Object, domain: str) -> list[str]:
    name, subdomain = hostname(pod), pod["spec"].get("subdomain")
    if not subdomain:
        return [name]
    namespace = pod["metadata"].get("namespace", "default")
    return [f"{name}.{subdomain}.{namespace}.svc.{domain}", name]


def resolv_conf(pod: Object, dns: str, domain: str, host: str) -> str:
    """By the pod's dnsPolicy and dnsConfig."""
    spec = pod["spec"]
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    if policy == "ClusterFirst" and spec.get("hostNetwork"):
        policy = "Default"
    servers, searches, options = _parse_resolv_conf(host)
    if policy == "None":
        servers, searches, options = [], [], []
    elif policy in ("ClusterFirst", "ClusterFirstWithHostNet"):
        namespace = pod["metadata"].get("namespace", "default")
        searches = [f"{namespace}.svc.{domain}", f"svc.{domain}", domain, *searches]
        servers, options = [dns], ["ndots:5"]
    extra = spec.get("dnsConfig") or {}
    servers = list(dict.fromkeys([*servers, *(extra.get("nameservers") or ())]))
    searches = list(dict.fromkeys([*searches, *(extra.get("searches") or ())]))
    for option in extra.get("options") or ():
        name, value = option["name"], option.get("value")
        options = [text for text in options if text.partition(":")[0] != name]
        options.append(f"{name}:{value}" if value else name)
    lines = [f"search {' '.join(searches)}"] if searches else []
    lines += [f"nameserver {server}" for server in servers]
    lines += [f"options {' '.join(options)}"] if options else []
    return "\n".join(lines) + "\n"


def _parse_resolv_conf(text: str) -> tuple[list[str], list[str], list[str]]:
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        keyword, *values = line.split() or [""]
        if keyword == "nameserver":
            servers += values[:1]
        elif keyword == "search":
            searches = values
        elif keyword == "options":
            options += values
    return servers, searches, options
