"""Log entries as records, and records as JSON lines or as OTLP's JSON. Pure."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FORMATS = {"jsonl": "application/x-ndjson", "otlp": "application/json"}
"""By the name of a format: the content type it is sent as."""


@dataclass(frozen=True)
class Source:
    """Of one log file: whose it is."""

    namespace: str
    pod: str
    uid: str
    container: str
    attempt: int

    @classmethod
    def of_path(cls, path: str) -> Source:
        """`.../NAMESPACE_POD_UID/CONTAINER/ATTEMPT.log`. Raises ValueError for another path."""
        rest, name = os.path.split(path)
        rest, container = os.path.split(rest)
        namespace, pod, uid = os.path.basename(rest).split("_")
        return cls(namespace, pod, uid, container, int(name.partition(".")[0]))


@dataclass(frozen=True)
class Record:
    """`time` as the log has it (RFC 3339, nanoseconds). `is_part`: the line goes on."""

    time: str
    stream: str
    text: str
    is_part: bool
    source: Source


def parse(data: bytes, source: Source) -> list[Record]:
    """Of whole entries in the CRI format; what is none is left out."""
    found = []
    for entry in data.splitlines():
        parts = entry.split(b" ", 3)
        if len(parts) == 4 and parts[2][:1] in (b"F", b"P"):
            time, stream, tag, text = (part.decode(errors="replace") for part in parts)
            found.append(Record(time, stream, text, tag.startswith("P"), source))
    return found


def encode(records: Sequence[Record], form: str, node: str) -> bytes:
    return _otlp(records, node) if form == "otlp" else _json_lines(records, node)


def _json_lines(records: Sequence[Record], node: str) -> bytes:
    return b"".join(json.dumps(_flat(record, node)).encode() + b"\n" for record in records)


def _flat(record: Record, node: str) -> dict[str, Any]:
    source = record.source
    who: dict[str, Any] = {"namespace": source.namespace, "pod": source.pod, "pod_uid": source.uid}
    who |= {"container": source.container, "attempt": source.attempt, "node": node}
    found = {"time": record.time, "stream": record.stream, "log": record.text, "kubernetes": who}
    return found | ({"partial": True} if record.is_part else {})


def _otlp(records: Sequence[Record], node: str) -> bytes:
    """ExportLogsServiceRequest (opentelemetry-proto 1.x), a resource for each container."""
    by_source: dict[Source, list[Record]] = {}
    for record in records:
        by_source.setdefault(record.source, []).append(record)
    resources = [
        {
            "resource": {"attributes": _attributes(source, node)},
            "scopeLogs": [{"scope": {"name": "raykube"}, "logRecords": [_log(r) for r in own]}],
        }
        for source, own in by_source.items()
    ]
    return json.dumps({"resourceLogs": resources}).encode()


def _attributes(source: Source, node: str) -> list[dict[str, Any]]:
    values = {
        "k8s.namespace.name": source.namespace,
        "k8s.pod.name": source.pod,
        "k8s.pod.uid": source.uid,
        "k8s.container.name": source.container,
        "k8s.container.restart_count": str(source.attempt),
        "k8s.node.name": node,
    }
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]


def _log(record: Record) -> dict[str, Any]:
    stream = {"key": "log.iostream", "value": {"stringValue": record.stream}}
    return {
        "timeUnixNano": str(_nanoseconds(record.time)),
        "body": {"stringValue": record.text},
        "attributes": [stream],
    }


def _nanoseconds(time: str) -> int:
    from cluster.kubelet.logs import time_of

    whole, _, rest = time.rstrip("Z").partition(".")
    return int(time_of(f"{whole}Z".encode())) * 10**9 + int((rest or "0").ljust(9, "0")[:9])
