"""For whom a node may ask tokens: for those that the pod's own volumes are for.

Upstream's ServiceAccountNodeAudienceRestriction. An administrator may allow a node more: the verb
`request-serviceaccounts-token-audience` on the audience, by the name of the service account.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from cluster.apiserver.admission.chain import Review
from cluster.apiserver.authz.attributes import Attributes, Authorizer
from cluster.apiserver.lookup import Lookup
from cluster.machinery import status

Object = dict[str, Any]
VERB = "request-serviceaccounts-token-audience"


class NodeAudiences:
    def __init__(self, lookup: Lookup, authorizer: Authorizer) -> None:
        self._lookup, self._authorizer = lookup, authorizer

    async def check(self, review: Review, pod: Object) -> None:
        """Of a request for a token that is bound to the pod. Raises 403."""
        audiences = ((review.new or {}).get("spec") or {}).get("audiences") or []
        if len(audiences) > 1:
            text = "node may only request 0 or 1 audiences"
            raise status.forbidden(review.resource, review.name, text)
        audience = audiences[0] if audiences else ""
        if audience in _projected(pod):
            return
        async for driver in self._drivers(pod):
            requests = (driver.get("spec") or {}).get("tokenRequests") or ()
            if audience in [each.get("audience", "") for each in requests]:
                return
        asked = Attributes(
            review.user, VERB, "", "", "", audience, "", review.namespace, review.name
        )
        if not audience or not (await self._authorizer.decide(asked)).allowed:
            text = (
                f'audience "{audience}" not found in pod spec volume, {review.user.name} is not '
                "authorized to request tokens for this audience"
            )
            raise status.forbidden(review.resource, review.name, text)

    async def _drivers(self, pod: Object) -> AsyncIterator[Object]:
        """The CSI drivers of the pod's volumes."""
        for volume in pod["spec"].get("volumes") or ():
            name = (volume.get("csi") or {}).get("driver") or await self._driver_of(pod, volume)
            key = "storage.k8s.io/v1/csidrivers"
            driver = await self._lookup.find(key, "", name) if name else None
            if driver is not None:
                yield driver

    async def _driver_of(self, pod: Object, volume: Object) -> str:
        """Of a volume that is claimed; "" if it is not, or by another kind of volume."""
        named = (volume.get("persistentVolumeClaim") or {}).get("claimName", "")
        if not named and volume.get("ephemeral"):
            named = f"{pod['metadata']['name']}-{volume['name']}"
        if not named:
            return ""
        namespace = pod["metadata"]["namespace"]
        claim = await self._lookup.find("v1/persistentvolumeclaims", namespace, named) or {}
        bound = (claim.get("spec") or {}).get("volumeName")
        found = await self._lookup.find("v1/persistentvolumes", "", bound) if bound else None
        return str((((found or {}).get("spec") or {}).get("csi") or {}).get("driver") or "")


def _projected(pod: Object) -> set[str]:
    return {
        (source["serviceAccountToken"].get("audience") or "")
        for volume in pod["spec"].get("volumes") or ()
        for source in (volume.get("projected") or {}).get("sources") or ()
        if source.get("serviceAccountToken")
    }
