"""/stats/summary, as upstream's stats.k8s.io/v1alpha1 (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.kubelet.runtimes.base import Usage
from cluster.kubelet.stats.node_usage import NodeUsage
from cluster.kubelet.stats.snapshot import ContainerUsage, PodUsage, Snapshot, VolumeUsage
from cluster.machinery import meta

Object = dict[str, Any]


def document(now: Snapshot, rates: Mapping[str, int]) -> Object:
    """`rates`: see `snapshot.rates`."""
    at = meta.format_time(now.at_s)
    return {
        "node": _node(now.node_name, now.node, at, rates),
        "pods": [_pod(pod, at, rates) for pod in now.pods],
    }


def _node(name: str, node: NodeUsage, at: str, rates: Mapping[str, int]) -> Object:
    disk = node.file_system
    interfaces = [
        {
            "name": each.name,
            "rxBytes": each.received_bytes,
            "rxErrors": each.receive_errors,
            "txBytes": each.sent_bytes,
            "txErrors": each.send_errors,
        }
        for each in node.interfaces
    ]
    return {
        "nodeName": name,
        "startTime": meta.format_time(node.booted_at_s),
        "cpu": _cpu(node.cpu_ns, at, rates.get("")),
        "memory": {
            "time": at,
            "availableBytes": node.available_bytes,
            "usageBytes": node.working_set_bytes,
            "workingSetBytes": node.working_set_bytes,
        },
        "network": {"time": at, **(interfaces[0] if interfaces else {"name": ""}),
                    "interfaces": interfaces},
        "fs": {
            "time": at,
            "availableBytes": disk.available_bytes,
            "capacityBytes": disk.capacity_bytes,
            "usedBytes": disk.used_bytes,
            "inodesFree": disk.inodes_free,
            "inodes": disk.inodes,
            "inodesUsed": disk.inodes - disk.inodes_free,
        },
        "rlimit": {"time": at, "maxpid": node.processes_max, "curproc": node.processes},
    }  # fmt: skip


def _pod(pod: PodUsage, at: str, rates: Mapping[str, int]) -> Object:
    ids = [each.container.container_id for each in pod.containers]
    known = [rates[each] for each in ids if each in rates]
    started = (pod.pod.get("status") or {}).get("startTime")
    total = pod.total
    return {
        "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "startTime": started or pod.pod["metadata"].get("creationTimestamp"),
        "containers": [_container(each, at, rates) for each in pod.containers],
        "cpu": _cpu(total.cpu_ns, at, sum(known) if len(known) == len(ids) else None),
        "memory": _memory(total, at),
        "process_stats": {"process_count": total.processes},
        **({"volume": [_volume(each, at) for each in pod.volumes]} if pod.volumes else {}),
    }


def _volume(each: VolumeUsage, at: str) -> Object:
    namespace, _, claim = each.claim.partition("/")
    return {
        "time": at,
        "name": each.name,
        "pvcRef": {"name": claim, "namespace": namespace},
        "capacityBytes": each.capacity_bytes,
        "availableBytes": each.available_bytes,
        "usedBytes": each.used_bytes,
        "inodes": each.inodes,
        "inodesFree": each.inodes_free,
        "inodesUsed": each.inodes - each.inodes_free,
    }


def _container(each: ContainerUsage, at: str, rates: Mapping[str, int]) -> Object:
    return {
        "name": each.container.name,
        "startTime": meta.format_time(each.container.started_at_s),
        "cpu": _cpu(each.usage.cpu_ns, at, rates.get(each.container.container_id)),
        "memory": _memory(each.usage, at),
    }


def _cpu(total_ns: int, at: str, rate: int | None) -> Object:
    known = {} if rate is None else {"usageNanoCores": rate}
    return {"time": at, **known, "usageCoreNanoSeconds": total_ns}


def _memory(usage: Usage, at: str) -> Object:
    return {
        "time": at,
        "usageBytes": usage.working_set_bytes,
        "workingSetBytes": usage.working_set_bytes,
        "rssBytes": usage.rss_bytes,
        "pageFaults": usage.page_faults,
        "majorPageFaults": usage.major_page_faults,
    }
