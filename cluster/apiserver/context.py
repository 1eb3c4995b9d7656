"""What every handler may use: the parts of one running server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from actors.seams import Seams
from cluster.apiserver.admission.chain import Chain, Operation, Review
from cluster.apiserver.authentication import User
from cluster.apiserver.bodies import Object
from cluster.apiserver.http.messages import Request
from cluster.apiserver.kubelet_client import KubeletClient
from cluster.apiserver.metrics import Metrics
from cluster.apiserver.negotiation import Wanted, wanted
from cluster.apiserver.routing import Target
from cluster.apiserver.shapes import Shaper
from cluster.machinery import status
from cluster.machinery.resources import Resource
from cluster.storage.feed import Feed
from cluster.storage.listing import Lister
from cluster.storage.registry import Registry


@dataclass(frozen=True)
class Kept:
    """Everything about one served resource."""

    resource: Resource
    registry: Registry
    lister: Lister


@dataclass(frozen=True)
class Context:
    """`kept`: by "v1/pods". `draining` is set when the server is about to stop."""

    seams: Seams
    kept: dict[str, Kept]
    feed: Feed
    admission: Chain
    kubelets: KubeletClient
    metrics: Metrics
    draining: asyncio.Event

    def find(self, key: str) -> Kept:
        """KeyError for what is not served."""
        return self.kept[key]


@dataclass(frozen=True)
class Call:
    """One resource request on its way through a handler."""

    context: Context
    request: Request
    target: Target
    kept: Kept
    user: User

    @property
    def resource(self) -> Resource:
        return self.kept.resource

    @property
    def registry(self) -> Registry:
        return self.kept.registry

    @property
    def namespace(self) -> str:
        """That of the objects asked for: "" for cluster-scoped resources."""
        return self.target.namespace if self.resource.namespaced else ""

    @property
    def dry_run(self) -> bool:
        return dry_run(self.request.query.get("dryRun") or [])

    def shaper(self) -> Shaper:
        """How to answer; 406 if the client accepts nothing that can be given."""
        accepted: Wanted = wanted(self.request.headers.get("accept", ""))
        include = self.request.parameter("includeObject")
        return Shaper(self.resource, accepted, include, self.context.seams.clock.wall())

    async def admit(self, operation: Operation, new: Object | None, old: Object | None) -> None:
        """Run the admission chain over a write."""
        name = self.target.name or ((new or {}).get("metadata") or {}).get("name", "")
        review = Review(
            operation,
            self.resource,
            self.target.subresource,
            self.namespace,
            name,
            new,
            old,
            self.user,
            self.dry_run,
        )
        await self.context.admission.run(review)


def dry_run(values: list[str]) -> bool:
    """`dryRun=All`; 422 for any other value."""
    if not values or values == [""]:
        return False
    if set(values) != {"All"}:
        shown = ", ".join(f'"{v}"' for v in values)
        message = f'Unsupported value: [{shown}]: supported values: "All"'
        cause = status.Cause("FieldValueNotSupported", message, "dryRun")
        raise status.invalid("Options.meta.k8s.io", "", [cause])
    return True
