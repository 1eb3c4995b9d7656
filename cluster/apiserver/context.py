"""What every handler may use: the parts of one running server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors.seams import Seams
from cluster.apiserver import bodies
from cluster.apiserver.admission.chain import Chain, Operation, Review
from cluster.apiserver.authn.user import User
from cluster.apiserver.bodies import Object
from cluster.apiserver.http.messages import Request
from cluster.apiserver.kubelet_client import KubeletClient
from cluster.apiserver.metrics import Metrics
from cluster.apiserver.negotiation import CUSTOM, TYPED, Wanted, wanted
from cluster.apiserver.routing import Target
from cluster.apiserver.shapes import Shaper
from cluster.machinery import status
from cluster.machinery.apply import BUILTIN, Versions
from cluster.machinery.kinds import Kind
from cluster.machinery.printing import Printer
from cluster.machinery.resources import Resource
from cluster.machinery.scale import WORKLOAD, ScalePaths
from cluster.storage.feed import Feed, Progress
from cluster.storage.listing import Lister
from cluster.storage.registry import Judge, Registry

if TYPE_CHECKING:
    from cluster.apiserver.authn.service_accounts import Issuer
    from cluster.apiserver.catalogue import Catalogue
    from cluster.apiserver.lookup import Lookup


@dataclass(frozen=True)
class Kept:
    """Everything about one served resource.

    `form`, `printer` and `schema` (its OpenAPI v3 schema) are None where the tables have them;
    `warning` is told to whoever uses the resource; `versions` are its types, by which fields
    are managed; `stored_as` is the apiVersion in the store, where the tables do not have it.
    """

    resource: Resource
    registry: Registry
    lister: Lister
    progress: Progress
    form: Kind | None = None
    printer: Printer | None = None
    scale: ScalePaths = WORKLOAD
    warning: str = ""
    schema: Object | None = None
    versions: Versions = BUILTIN
    stored_as: str = ""


@dataclass(frozen=True)
class Context:
    """`draining` is set when the server is about to stop; `issuer` signs accounts' tokens."""

    seams: Seams
    catalogue: Catalogue
    feed: Feed
    admission: Chain
    kubelets: KubeletClient
    metrics: Metrics
    lookup: Lookup
    issuer: Issuer
    draining: asyncio.Event

    @property
    def kept(self) -> Mapping[str, Kept]:
        """What is served, by "v1/pods"."""
        return self.catalogue.kept

    def find(self, key: str) -> Kept:
        """A built-in resource; KeyError for what is not served."""
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

    def shaper(self, printer: Printer | None = None, typed: bool = False) -> Shaper:
        """How to answer; 406 if the client accepts nothing that can be given.

        `typed`: the answer is of a built-in type, whatever the resource is.
        """
        messages = TYPED if typed or self.kept.form is None else CUSTOM
        accept = self.request.headers.get("accept", "")
        accepted: Wanted = wanted(accept, messages=messages)
        include = self.request.parameter("includeObject")
        now_s = self.context.seams.clock.wall()
        return Shaper(self.resource, accepted, include, now_s, printer or self.kept.printer)

    def read_body(self) -> Object:
        """The body as an object of this resource: checked, pruned, with defaults."""
        resource = self.resource
        return bodies.read(self.request, resource.api_version, resource.kind, self.kept.form)

    async def admit(self, operation: Operation, new: Object | None, old: Object | None) -> None:
        """Run the mutating phase of admission over a write."""
        await self.context.admission.mutate(self._review(operation, new, old))

    async def connect(self, options: Object) -> None:
        """Both phases for a connection that is to be made; nothing is stored."""
        await self.context.admission.run(self._review("connect", options, None))

    async def judge(self, operation: Operation, new: Object | None, old: Object | None) -> None:
        """Run the validating phase over what is about to be stored."""
        await self.context.admission.validate(self._review(operation, new, old))

    def judging(self, operation: Operation) -> Judge:
        """For a registry: the validating phase, which comes after the kind's own rules."""
        return lambda new, old: self.judge(operation, new, old)

    def _review(self, operation: Operation, new: Object | None, old: Object | None) -> Review:
        name = self.target.name or ((new or {}).get("metadata") or {}).get("name", "")
        return Review(
            operation,
            self.resource,
            self.target.subresource,
            self.namespace,
            name,
            new,
            old,
            self.user,
            self.dry_run,
            self.request.warnings,
            self._options(operation),
            {} if self.request.audit is None else self.request.audit.annotations,
        )

    def _options(self, operation: Operation) -> Object:
        """The options of the request, in the form that webhooks are told."""
        if operation == "connect":
            return {}
        found: Object = {
            "apiVersion": "meta.k8s.io/v1",
            "kind": f"{operation.capitalize()}Options",
        }
        if self.dry_run:
            found["dryRun"] = ["All"]
        for name in ("fieldManager", "fieldValidation"):
            if operation != "delete" and self.request.parameter(name):
                found[name] = self.request.parameter(name)
        return found


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
