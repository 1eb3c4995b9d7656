"""Leases: one that counts its terms claims a key for the term that goes on.

The key is put and deleted in the transactions that change who holds the Lease, so whether it is
there tells, in any transaction, whether that term goes on (`cluster.storage.fencing`).
"""

from __future__ import annotations

from collections.abc import Mapping

from cluster.machinery.fencing import Fence
from cluster.storage import keys
from cluster.storage.encoding import Object
from cluster.storage.strategies.base import Strategy

FENCES = keys.ROOT + "fences/"


class LeaseStrategy(Strategy):
    creates_on_update = True

    def claims(self, obj: Object) -> Mapping[str, str]:
        fence = Fence.of(obj)
        return {} if fence is None else {f"{FENCES}{fence}": "spec.leaseTransitions"}
