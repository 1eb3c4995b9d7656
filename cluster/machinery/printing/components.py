"""Rows of component statuses."""

from __future__ import annotations

from cluster.machinery import meta
from cluster.machinery.printing.columns import NAME, Cells, Column, Printer


def _component_status(obj: meta.Object, now_s: float) -> Cells:
    conditions: list[dict[str, str]] = obj.get("conditions") or []
    healthy = next((c for c in conditions if c["type"] == "Healthy"), {})
    words = {"True": "Healthy", "False": "Unhealthy"}
    word = words.get(healthy.get("status", ""), "Unknown")
    name = obj["metadata"]["name"]
    return [name, word, healthy.get("message", ""), healthy.get("error", "")]


PRINTERS = {
    "componentstatuses": Printer(
        (NAME, Column("Status"), Column("Message"), Column("Error")), _component_status
    )
}
