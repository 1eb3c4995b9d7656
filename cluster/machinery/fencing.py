"""A leader's writes name the term that they depend on, so that servers can refuse late ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

HEADER = "Raykube-Fence"
"""Of requests: `NAMESPACE/NAME/TRANSITIONS/HOLDER` of a Lease; the holder is quoted as in URLs."""


@dataclass(frozen=True, slots=True)
class Fence:
    """One term of one holder of a Lease; no two terms of a Lease are equal."""

    namespace: str
    name: str
    transitions: int
    holder: str

    @classmethod
    def of(cls, lease: Mapping[str, Any]) -> Fence | None:
        """The term that goes on by this Lease; None if nobody holds it, or it counts no terms."""
        spec, metadata = lease.get("spec") or {}, lease["metadata"]
        holder, transitions = spec.get("holderIdentity"), spec.get("leaseTransitions")
        if not holder or transitions is None:
            return None
        return cls(metadata.get("namespace", ""), metadata["name"], int(transitions), str(holder))

    def __str__(self) -> str:
        holder = quote(self.holder, safe="")
        return f"{self.namespace}/{self.name}/{self.transitions}/{holder}"

    @classmethod
    def parse(cls, text: str) -> Fence:
        """Raises ValueError for what is no fence."""
        namespace, name, transitions, holder = text.split("/")
        if not (namespace and name and transitions.isdecimal() and holder):
            raise ValueError(f"not a fence: {text!r}")
        return cls(namespace, name, int(transitions), unquote(holder))
