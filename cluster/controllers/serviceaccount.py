"""ServiceAccount: a `default` one in every active namespace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cluster.controllers.framework import Controller, Result, Watch
from cluster.controllers.services import is_ending
from cluster.machinery import meta
from cluster.machinery.status import ApiError

Object = dict[str, Any]


class ServiceAccountController(Controller):
    name = "serviceaccount"
    account = "service-account-controller"

    def watches(self) -> Sequence[Watch]:
        return [
            Watch("namespaces"),
            Watch("serviceaccounts", lambda obj: [meta.namespace(obj)]),
        ]

    async def reconcile(self, key: str) -> Result | None:
        namespace = self.informers.of("namespaces").get(key)
        present = self.informers.of("serviceaccounts").get(f"{key}/default")
        if not is_active(namespace) or present is not None:
            return None
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": key},
        }
        try:
            await self.client.create("serviceaccounts", account)
        except ApiError as error:
            if error.reason != "AlreadyExists" and not is_ending(error):
                raise
        return None


def is_active(namespace: Object | None) -> bool:
    """It is there, and not on its way out."""
    return namespace is not None and not namespace["metadata"].get("deletionTimestamp")
