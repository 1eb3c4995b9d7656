"""Certificate signing requests: asked for once, approved and signed through subresources."""

from __future__ import annotations

from cluster.storage.encoding import Object
from cluster.storage.strategies.base import Strategy, keep

APPROVALS = ("Approved", "Denied")


class SigningRequestStrategy(Strategy):
    """`/approval` writes the conditions Approved and Denied, `/status` everything else."""

    selectable = ("spec.signerName",)
    has_status = True

    def prepare_update(self, new: Object, old: Object) -> None:
        """What is asked for never changes."""
        super().prepare_update(new, old)
        keep(new, old, "spec")

    def prepare_status(self, new: Object, old: Object) -> None:
        super().prepare_status(new, old)
        _join_conditions(new, approvals_of=old, others_of=new)

    def prepare_other(self, new: Object, old: Object, subresource: str) -> None:
        """`/approval`: the certificate and the other conditions stay as they are."""
        super().prepare_status(new, old)
        conditions = (new.get("status") or {}).get("conditions") or []
        new["status"] = {**(old.get("status") or {}), "conditions": conditions}
        _join_conditions(new, approvals_of=new, others_of=old)


def _join_conditions(new: Object, approvals_of: Object, others_of: Object) -> None:
    approvals = [c for c in _conditions(approvals_of) if c.get("type") in APPROVALS]
    others = [c for c in _conditions(others_of) if c.get("type") not in APPROVALS]
    status = new.setdefault("status", {})
    status["conditions"] = approvals + others
    if not status["conditions"]:
        del status["conditions"]


def _conditions(obj: Object) -> list[Object]:
    return (obj.get("status") or {}).get("conditions") or []
