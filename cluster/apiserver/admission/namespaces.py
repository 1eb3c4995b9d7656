"""NamespaceExists and NamespaceAutoProvision: what is written to a namespace that is not there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from cluster.apiserver.admission.chain import Review
from cluster.machinery import resources, status
from cluster.machinery.status import ApiError

Object = dict[str, Any]
FindNamespace = Callable[[str], Awaitable[Object | None]]
NAMESPACES = resources.find("namespaces")
Create = Callable[[Object], Awaitable[object]]


class Namespaces:
    """Two admission plugins: `provide` is of the mutating phase, `require` of the validating one.

    (That nothing is created in a namespace that is not there is kept by the store's own guard;
    these decide earlier: one by making it, one for changes too.)
    """

    def __init__(self, find: FindNamespace, create: Create) -> None:
        self._find, self._create = find, create

    async def provide(self, review: Review) -> None:
        """A dry run makes nothing, and so may fail for want of the namespace."""
        if review.operation != "create" or review.dry_run or await self._is_there(review):
            return
        try:
            metadata = {"name": review.namespace}
            await self._create({"kind": "Namespace", "apiVersion": "v1", "metadata": metadata})
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise

    async def require(self, review: Review) -> None:
        if not await self._is_there(review):
            raise status.not_found(NAMESPACES, review.namespace)

    async def _is_there(self, review: Review) -> bool:
        if not review.namespace or review.resource.plural == "namespaces":
            return True
        return await self._find(review.namespace) is not None
