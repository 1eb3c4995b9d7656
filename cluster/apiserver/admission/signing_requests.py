"""Certificate signing requests say who asks: the server knows, the client is not believed."""

from __future__ import annotations

from cluster.apiserver.admission.chain import Review

PLURAL = "certificatesigningrequests"


async def requester(review: Review) -> None:
    """Fill in the user of a new request, whatever the client wrote there."""
    new = review.new
    if review.resource.plural != PLURAL or review.operation != "create" or new is None:
        return
    spec = new.setdefault("spec", {})
    for name in ("uid", "extra", "groups"):
        spec.pop(name, None)
    spec |= review.user.to_info()
