"""APIServices: what this server serves itself is available from the start."""

from __future__ import annotations

from cluster.machinery import meta
from cluster.machinery.apiservices.service import LOCAL
from cluster.storage.encoding import Object
from cluster.storage.strategies.base import Strategy


class ApiServiceStrategy(Strategy):
    has_status = True

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        obj["status"] = {}
        if (obj.get("spec") or {}).get("service") is None:
            created_s = meta.parse_time(obj["metadata"]["creationTimestamp"])
            meta.set_condition(obj, dict(LOCAL), created_s)
