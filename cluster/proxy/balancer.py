"""Picks backends: round-robin, or the same one for the same client. Pure but for its memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from cluster.proxy.rules import Backend, Rule

_CLIENTS_MAX = 10_000


class Balancer:
    """Of one frontend. Affinity entries are bounded: the longest unused go first."""

    def __init__(self, rule: Rule, first: int = 0) -> None:
        self.rule = rule
        self._next = first
        self._sticky: OrderedDict[str, tuple[Backend, float]] = OrderedDict()

    def order(self, client: str, now_s: float) -> Sequence[Backend]:
        """The backends to try for a new connection, best first."""
        backends = self.rule.backends
        start = self._next % len(backends) if backends else 0
        self._next += 1
        ordered = [*backends[start:], *backends[:start]]
        chosen = self._stuck_to(client, now_s)
        if chosen is not None:
            ordered.remove(chosen)
            ordered.insert(0, chosen)
        return ordered

    def _stuck_to(self, client: str, now_s: float) -> Backend | None:
        if self.rule.affinity_s is None or client not in self._sticky:
            return None
        backend, last_s = self._sticky[client]
        expired = now_s - last_s > self.rule.affinity_s
        return None if expired or backend not in self.rule.backends else backend

    def connected(self, client: str, backend: Backend, now_s: float) -> None:
        """Remember where a client's connection went."""
        if self.rule.affinity_s is None:
            return
        self._sticky[client] = (backend, now_s)
        self._sticky.move_to_end(client)
        if len(self._sticky) > _CLIENTS_MAX:
            self._sticky.popitem(last=False)
