"""The metrics pages in Prometheus' text form, under upstream's names (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from cluster.kubelet.stats.snapshot import ContainerUsage, PodUsage, Snapshot

Labels = Mapping[str, str]
TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Family:
    """One metric: its samples are (labels, value)."""

    name: str
    kind: str
    help: str
    samples: Iterable[tuple[Labels, float]]


def text(families: Iterable[Family], at_s: float | None = None) -> bytes:
    """`at_s`: when the values were measured, if that is told with each."""
    stamp = "" if at_s is None else f" {int(at_s * 1000)}"
    lines: list[str] = []
    for family in families:
        lines.append(f"# HELP {family.name} {family.help}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for labels, value in family.samples:
            lines.append(f"{family.name}{_labels(labels)} {_number(value)}{stamp}")
    return ("\n".join(lines) + "\n").encode()


def resource(now: Snapshot) -> bytes:
    """/metrics/resource: what metrics-server reads."""
    node, containers, pods = now.node, list(_containers(now)), now.pods
    families = [
        Family("container_cpu_usage_seconds_total", "counter",
               "Cumulative cpu time consumed by the container in core-seconds",
               [(_short(p, c), c.usage.cpu_ns / 1e9) for p, c in containers]),
        Family("container_memory_working_set_bytes", "gauge",
               "Current working set of the container in bytes",
               [(_short(p, c), c.usage.working_set_bytes) for p, c in containers]),
        Family("container_start_time_seconds", "gauge",
               "Start time of the container since unix epoch in seconds",
               [(_short(p, c), c.container.started_at_s) for p, c in containers]),
        Family("node_cpu_usage_seconds_total", "counter",
               "Cumulative cpu time consumed by the node in core-seconds",
               [({}, node.cpu_ns / 1e9)]),
        Family("node_memory_working_set_bytes", "gauge",
               "Current working set of the node in bytes", [({}, node.working_set_bytes)]),
        Family("pod_cpu_usage_seconds_total", "counter",
               "Cumulative cpu time consumed by the pod in core-seconds",
               [(_of_pod(p), p.total.cpu_ns / 1e9) for p in pods]),
        Family("pod_memory_working_set_bytes", "gauge",
               "Current working set of the pod in bytes",
               [(_of_pod(p), p.total.working_set_bytes) for p in pods]),
        Family("resource_scrape_error", "gauge",
               "1 if there was an error while getting container metrics, 0 otherwise",
               [({}, 0)]),
    ]  # fmt: skip
    return text(families, now.at_s)


def cadvisor(now: Snapshot) -> bytes:
    """/metrics/cadvisor: what dashboards read of containers."""
    containers = list(_containers(now))

    def of_all(name: str, kind: str, about: str, part: str, scale: float = 1) -> Family:
        samples = [(_long(p, c), getattr(c.usage, part) / scale) for p, c in containers]
        return Family(name, kind, about, samples)

    cpu = [({**_long(p, c), "cpu": "total"}, c.usage.cpu_ns / 1e9) for p, c in containers]
    families = [
        Family("container_cpu_usage_seconds_total", "counter",
               "Cumulative cpu time consumed in seconds.", cpu),
        of_all("container_memory_usage_bytes", "gauge", "Current memory usage in bytes.",
               "working_set_bytes"),
        of_all("container_memory_working_set_bytes", "gauge", "Current working set in bytes.",
               "working_set_bytes"),
        of_all("container_memory_rss", "gauge", "Size of RSS in bytes.", "rss_bytes"),
        of_all("container_processes", "gauge", "Number of processes inside the container.",
               "processes"),
        Family("container_start_time_seconds", "gauge",
               "Start time of the container since unix epoch in seconds.",
               [(_long(p, c), c.container.started_at_s) for p, c in containers]),
        Family("machine_memory_bytes", "gauge", "Amount of memory installed on the machine.",
               [({}, now.node.memory_bytes)]),
    ]  # fmt: skip
    return text(families, now.at_s)


def own(now: Snapshot, process: Mapping[str, float]) -> bytes:
    """/metrics: of the kubelet itself. `process`: usual names -> values of its process."""
    running = sum(len(p.containers) for p in now.pods)
    families = [
        Family("kubelet_node_name", "gauge", "The node's name. The count is always 1.",
               [({"node": now.node_name}, 1)]),
        Family("kubelet_running_pods", "gauge", "Number of pods that have a running container.",
               [({}, sum(bool(p.containers) for p in now.pods))]),
        Family("kubelet_running_containers", "gauge", "Number of containers currently running.",
               [({"container_state": "running"}, running)]),
        *(Family(name, "counter" if name.endswith("_total") else "gauge",
                 "Of the process that the kubelet runs in.", [({}, value)])
          for name, value in process.items()),
        *_volumes(now),
    ]  # fmt: skip
    return text(families)


_VOLUME_FAMILIES = (
    ("capacity_bytes", "Capacity in bytes of the volume", "capacity_bytes"),
    ("available_bytes", "Number of available bytes in the volume", "available_bytes"),
    ("used_bytes", "Number of used bytes in the volume", "used_bytes"),
    ("inodes", "Maximum number of inodes in the volume", "inodes"),
    ("inodes_free", "Number of free inodes in the volume", "inodes_free"),
)


def _volumes(now: Snapshot) -> Iterator[Family]:
    """Of claims; one that several pods of the node use is counted once."""
    found = {volume.claim: volume for p in now.pods for volume in p.volumes if volume.claim}
    for name, help_, field in _VOLUME_FAMILIES if found else ():
        samples = []
        for key, volume in sorted(found.items()):
            namespace, _, claim = key.partition("/")
            labels = {"namespace": namespace, "persistentvolumeclaim": claim}
            samples.append((labels, getattr(volume, field)))
        yield Family(f"kubelet_volume_stats_{name}", "gauge", help_, samples)


def _containers(now: Snapshot) -> Iterator[tuple[PodUsage, ContainerUsage]]:
    return ((pod, each) for pod in now.pods for each in pod.containers)


def _of_pod(pod: PodUsage) -> Labels:
    return {"namespace": pod.namespace, "pod": pod.name}


def _short(pod: PodUsage, each: ContainerUsage) -> Labels:
    return {"container": each.container.name, **_of_pod(pod)}


def _long(pod: PodUsage, each: ContainerUsage) -> Labels:
    containers = pod.pod["spec"].get("containers") or ()
    name = each.container.name
    image = next((c.get("image", "") for c in containers if c["name"] == name), "")
    more = {"id": f"/pods/{pod.uid}/{name}", "image": image, "name": each.container.container_id}
    return {**_short(pod, each), **more}


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{k}="{_escaped(v)}"' for k, v in sorted(labels.items())) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return repr(value) if isinstance(value, float) else str(value)
