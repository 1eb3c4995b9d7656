"""The paths of metrics.k8s.io: objects, discovery, OpenAPI, health."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.seams import Seams
from cluster.apiserver import errors, routing
from cluster.apiserver.authz import attributes
from cluster.apiserver.discovery import legacy
from cluster.apiserver.http.messages import Request, Response
from cluster.apiserver.negotiation import UNTYPED, wanted
from cluster.apiserver.routing import Target
from cluster.client import Client
from cluster.machinery import openapi, printing, status
from cluster.machinery.codec import json_codec
from cluster.machinery.resources import Resource
from cluster.metrics import kinds
from cluster.metrics.delegation import Delegation
from cluster.metrics.samples import Samples

Object = dict[str, Any]

ROOT = f"/apis/{kinds.API_VERSION}"
RELEASE = "v0.8.0"
RESOURCES = (kinds.NODES, kinds.PODS)
HEALTH = ("/healthz", "/livez", "/readyz")


class MetricsApi:
    def __init__(
        self, client: Client, seams: Seams, delegation: Delegation, samples: Samples
    ) -> None:
        self._client, self._seams = client, seams
        self._delegation, self._samples = delegation, samples
        self._documents: dict[str, bytes] = {}
        self.found = False
        """Whether an API server has asked what is served here: from then on it leads here."""

    async def handle(self, request: Request) -> Response:
        """Never raises, except for cancellation."""
        try:
            return await self._answer(request)
        except Exception as error:
            return errors.to_response(errors.to_api_error(error), request)

    async def _answer(self, request: Request) -> Response:
        if request.path in HEALTH:
            return Response(200, b"ok", "text/plain; charset=utf-8")
        user = await self._delegation.identify(request)
        target = routing.parse(request.method, request.path, request.flag)
        await self._delegation.check(attributes.of_request(user, request, target))
        if target is not None:
            return await self._resource(request, target)
        return self._document(request.path.rstrip("/"))

    # -- objects -------------------------------------------------------------------------------

    async def _resource(self, request: Request, target: Target) -> Response:
        found = {r.plural: r for r in RESOURCES}.get(target.plural)
        if target.group_version != kinds.API_VERSION or found is None or target.subresource:
            raise status.path_not_found()
        if target.verb not in found.verbs:
            raise status.method_not_allowed(found, target.verb)
        make = self._pods if found is kinds.PODS else self._nodes
        if target.verb == "get":
            field = f"metadata.name={target.name}"
            objects = await make(target.namespace, "", field)
            if not objects:
                raise status.not_found(found, target.name)
            return self._shown(request, found, objects, single=True)
        labels, fields = (request.parameter(n) for n in ("labelSelector", "fieldSelector"))
        return self._shown(request, found, await make(target.namespace, labels, fields))

    async def _nodes(self, _namespace: str, labels: str, fields: str) -> list[Object]:
        now_s = self._seams.clock.wall()
        found = []
        for about in await self._about("nodes", "", labels, fields):
            used = self._samples.node(about["name"], now_s)
            if used is not None:
                found.append(kinds.node(about, used))
        return found

    async def _pods(self, namespace: str, labels: str, fields: str) -> list[Object]:
        known = dict(self._samples.pods(self._seams.clock.wall()))
        found = []
        for about in await self._about("pods", namespace, labels, fields):
            used = known.get((about["namespace"], about["name"]))
            if used:
                found.append(kinds.pod(about, used))
        return found

    async def _about(self, plural: str, namespace: str, labels: str, fields: str) -> list[Object]:
        """Metadata of what is selected, as the API server's cache has it."""
        page = await self._client.list(
            plural,
            namespace,
            label_selector=labels,
            field_selector=fields,
            resource_version="0",
            metadata_only=True,
        )
        return [item["metadata"] for item in page["items"]]

    def _shown(
        self, request: Request, resource: Resource, objects: list[Object], single: bool = False
    ) -> Response:
        shape = wanted(request.headers.get("accept", ""), messages=UNTYPED)
        if shape.shape == "Table":
            table = printing.table(
                resource,
                objects,
                self._seams.clock.wall(),
                include_object=request.parameter("includeObject") or "Metadata",
                found=kinds.PRINTERS[resource.plural],
            )
            return Response(200, json_codec.encode(table), shape.content_type)
        if single:
            return Response(200, json_codec.encode(objects[0]))
        listed = {
            "kind": resource.list_kind,
            "apiVersion": resource.api_version,
            "metadata": {},
            "items": objects,
        }
        return Response(200, json_codec.encode(listed))

    # -- what is served ------------------------------------------------------------------------

    def _document(self, path: str) -> Response:
        found = self._documents.get(path)
        if found is None:
            make = DOCUMENTS.get(path)
            if make is None:
                raise status.path_not_found()
            found = self._documents[path] = json_codec.encode(make())
        self.found = self.found or path == ROOT
        return Response(200, found)


def _group() -> Object:
    return legacy.with_type("APIGroup", legacy.group(kinds.GROUP, [kinds.VERSION]))


def _groups() -> Object:
    return {"kind": "APIGroupList", "apiVersion": "v1",
            "groups": [legacy.group(kinds.GROUP, [kinds.VERSION])]}  # fmt: skip


def _index() -> Object:
    return {"paths": {ROOT[1:]: {"serverRelativeURL": f"/openapi/v3{ROOT}?hash={RELEASE}"}}}


DOCUMENTS: dict[str, Callable[[], Object]] = {
    "/apis": _groups,
    f"/apis/{kinds.GROUP}": _group,
    ROOT: lambda: legacy.resource_list(kinds.API_VERSION, RESOURCES),
    "/openapi/v2": lambda: openapi.v2_document(RESOURCES, RELEASE, kinds.SCHEMAS),
    "/openapi/v3": _index,
    f"/openapi/v3{ROOT}": lambda: openapi.v3_document(RESOURCES, RELEASE, kinds.SCHEMAS),
}
