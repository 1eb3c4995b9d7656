"""StorageObjectInUseProtection: volumes and claims stay until nobody uses them.

The finalizers are taken away by the volume protection controllers.
"""

from __future__ import annotations

from cluster.apiserver.admission.chain import Review

FINALIZERS = {
    "persistentvolumeclaims": "kubernetes.io/pvc-protection",
    "persistentvolumes": "kubernetes.io/pv-protection",
}


async def protect(review: Review) -> None:
    """An admission plugin."""
    finalizer = FINALIZERS.get(review.resource.plural)
    new = review.creates(review.resource.plural) if finalizer else None
    if new is None:
        return
    finalizers = new["metadata"].get("finalizers") or []
    if finalizer not in finalizers:
        new["metadata"]["finalizers"] = [*finalizers, finalizer]
