"""The API's verbs over the transport: objects are plain dicts, refusals are `ApiError`."""

from __future__ import annotations

import builtins
import contextlib
import copy
import dataclasses
from collections.abc import AsyncIterator, Mapping
from typing import Any

from actors.seams import Seams
from cluster.client.config import ClientConfig
from cluster.client.errors import UnknownOutcome
from cluster.client.paths import path, resource_of, with_query
from cluster.client.term import Term
from cluster.client.transport import Request, Response, Stream, Transport
from cluster.machinery.codec import json_codec
from cluster.machinery.errors import BadRequest
from cluster.machinery.fencing import HEADER as FENCE
from cluster.machinery.resources import Resource
from cluster.machinery.status import ApiError, failure

Object = dict[str, Any]
Named = str | Resource

PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}
_METADATA = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1,application/json"


class Client:
    """Raises ApiError for what a server answered, Unreachable or UnknownOutcome otherwise."""

    retries_when_throttled = 5
    max_retry_after_s = 10.0

    def __init__(
        self,
        config: ClientConfig,
        seams: Seams,
        user_agent: str = "raykube",
        *,
        timeout_s: float = 15.0,
        term: Term | None = None,
    ) -> None:
        """`term`: nothing is written outside of it."""
        self.config = config
        self.token = config.token
        self.seams = seams
        self.user_agent = user_agent
        self.timeout_s = timeout_s
        self.term = term
        self._tls = config.tls()
        self._transport = Transport(config.servers, seams, self._tls)

    def during(self, term: Term) -> Client:
        """The same client, over the same connections, for what a leader does in its term."""
        client = copy.copy(self)
        client.term = term
        return client

    def use_certificate(self, cert: str, key: str) -> None:
        """Be known by another certificate (files) from now on, on new connections."""
        self.config = dataclasses.replace(self.config, cert=cert, key=key)
        if self._tls is not None:
            self._tls.load_cert_chain(cert, key)
        self._transport.reconnect()

    async def get(self, resource: Named, name: str, namespace: str = "") -> Object:
        """One object. Raises ApiError (404) if it is not there."""
        return await self._call("GET", path(resource_of(resource), namespace, name))

    async def find(self, resource: Named, name: str, namespace: str = "") -> Object | None:
        """One object, or None if there is none of that name."""
        try:
            return await self.get(resource, name, namespace)
        except ApiError as error:
            if error.code != 404:
                raise
            return None

    async def list(
        self,
        resource: Named,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
        resource_version: str | None = None,
        metadata_only: bool = False,
    ) -> Object:
        """One page; every item is given the apiVersion and kind that lists leave out."""
        kind = resource_of(resource)
        query = {
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "limit": limit or None,
            "continue": continue_,
            "resourceVersion": resource_version,
        }
        accept = _METADATA.format("List") if metadata_only else "application/json"
        target = with_query(path(kind, namespace), query)
        page = await self._call("GET", target, accept=accept)
        page["items"] = [
            {**item, "apiVersion": kind.api_version, "kind": kind.kind}
            for item in page.get("items") or ()
        ]
        return page

    async def create(
        self,
        resource: Named,
        obj: Mapping[str, Any],
        namespace: str = "",
        *,
        subresource: str = "",
        name: str = "",
    ) -> Object:
        """The object as stored. `name` is that of the parent of a subresource."""
        kind = resource_of(resource)
        space = namespace or _namespace_of(obj, kind)
        return await self._call("POST", path(kind, space, name, subresource), obj)

    async def update(
        self, resource: Named, obj: Mapping[str, Any], *, subresource: str = ""
    ) -> Object:
        """Replace; with `metadata.resourceVersion` set, only if it is still the latest."""
        kind = resource_of(resource)
        name = obj["metadata"]["name"]
        return await self._call("PUT", path(kind, _namespace_of(obj, kind), name, subresource), obj)

    async def patch(
        self,
        resource: Named,
        name: str,
        patch: Any,
        namespace: str = "",
        *,
        kind: str = "merge",
        subresource: str = "",
        force: bool = False,
    ) -> Object:
        """`kind`: merge, strategic, json (a list of operations) or apply."""
        target = path(resource_of(resource), namespace, name, subresource)
        if kind == "apply":
            query = {"fieldManager": self.user_agent, "force": str(force).lower()}
            target = with_query(target, query)
        return await self._call("PATCH", target, patch, content_type=PATCH_TYPES[kind])

    async def delete(
        self,
        resource: Named,
        name: str,
        namespace: str = "",
        *,
        grace_period_s: int | None = None,
        propagation: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> Object:
        """A Status, or the object that now waits for finalizers or its grace period. `uid` and
        `resource_version`: 409 if the object has another one."""
        options = _delete_options(grace_period_s, propagation, uid, resource_version)
        return await self._call("DELETE", path(resource_of(resource), namespace, name), options)

    async def delete_collection(
        self,
        resource: Named,
        namespace: str,
        *,
        propagation: str | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        """Everything of a kind in a namespace."""
        target = path(resource_of(resource), namespace)
        body = json_codec.encode(_delete_options(None, propagation, None, None))
        headers = {"Content-Type": "application/json"}
        request = self._request("DELETE", target, headers, body)
        response = await self._transport.request(request, timeout_s)
        if not 200 <= response.status < 300:
            raise _error_of(response.status, response.body)

    async def watch(
        self,
        resource: Named,
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        timeout_s: int | None = None,
        bookmarks: bool = False,
        metadata_only: bool = False,
    ) -> AsyncIterator[tuple[str, Object]]:
        """(type, object) after `resource_version`, until the server ends the stream.

        An ERROR event is raised as ApiError (410: list again). Close the iterator when done.
        """
        query = {
            "watch": "true",
            "resourceVersion": resource_version,
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "timeoutSeconds": timeout_s,
            "allowWatchBookmarks": "true" if bookmarks else None,
        }
        target = with_query(path(resource_of(resource), namespace), query)
        accept = _METADATA.format("") if metadata_only else "application/json"
        stream = await self.stream("GET", target, headers={"Accept": accept})
        try:
            async for line in _lines(stream):
                event = json_codec.decode(line)
                if event.get("type") == "ERROR":
                    raise ApiError(event.get("object") or {})
                yield event["type"], event["object"]
        except BadRequest as error:
            raise UnknownOutcome(f"watch of {target}: {error}") from error
        finally:
            stream.close()

    async def raw(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Any request; the answer is returned whatever its status is."""
        request = self._request(method, path, headers or {}, body or b"")
        return await self._transport.request(request, self.timeout_s)

    async def stream(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None
    ) -> Stream:
        """A body to read as it comes (logs). Raises ApiError unless the status is 2xx."""
        request = self._request(method, path, headers or {})
        stream = await self._transport.stream(request, self.timeout_s)
        if 200 <= stream.status < 300:
            return stream
        try:
            raise _error_of(stream.status, await stream.read())
        finally:
            stream.close()

    async def close(self) -> None:
        """Close every connection; requests under way fail."""
        await self._transport.close()

    def _request(
        self, method: str, target: str, more: Mapping[str, str], body: bytes = b""
    ) -> Request:
        headers = {"User-Agent": self.user_agent, "Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        term = None if method == "GET" else self.term
        if term is not None and term.header:
            headers[FENCE] = term.header
        return Request(method, target, {**headers, **more}, body, term)

    async def _call(
        self,
        method: str,
        target: str,
        obj: Any = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Object:
        headers = {"Accept": accept}
        if obj is not None:
            headers["Content-Type"] = content_type
        body = b"" if obj is None else json_codec.encode(obj)
        for _ in range(self.retries_when_throttled):
            response = await self.raw(method, target, body=body, headers=headers)
            wait_s = self._throttled_s(response)
            if wait_s is None:
                break
            await self.seams.clock.sleep(wait_s)
        if 200 <= response.status < 300:
            return json_codec.decode(response.body)
        raise _error_of(response.status, response.body)

    def _throttled_s(self, response: Response) -> float | None:
        """How long a server asks us to wait that has not carried the request out.

        It is overloaded (429), or starting, or has no store at the moment (503).
        """
        if response.status not in (429, 503) or "retry-after" not in response.headers:
            return None
        with contextlib.suppress(ValueError):
            return min(float(response.headers["retry-after"]), self.max_retry_after_s)
        return None


def _namespace_of(obj: Mapping[str, Any], resource: Resource) -> str:
    if not resource.namespaced:
        return ""
    return (obj.get("metadata") or {}).get("namespace") or "default"


def _delete_options(
    grace_period_s: int | None,
    propagation: str | None,
    uid: str | None,
    resource_version: str | None,
) -> Object:
    options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
    if grace_period_s is not None:
        options["gracePeriodSeconds"] = grace_period_s
    if propagation is not None:
        options["propagationPolicy"] = propagation
    wanted = {"uid": uid, "resourceVersion": resource_version}
    if preconditions := {key: value for key, value in wanted.items() if value is not None}:
        options["preconditions"] = preconditions
    return options


def _error_of(status: int, body: bytes) -> ApiError:
    """The Status object of an answer, or one made up for an answer that has none."""
    with contextlib.suppress(BadRequest):
        obj = json_codec.decode(body)
        if obj.get("kind") == "Status":
            return ApiError({"code": status, **obj})
    text = body[:200].decode("utf-8", "replace") or f"the server answered {status}"
    return failure(status, _REASONS.get(status, "Unknown"), text)


_REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 410: "Gone"}


async def _lines(stream: Stream) -> AsyncIterator[bytes]:
    """Frames of a watch: one JSON object per line, however the chunks fall."""
    parts: builtins.list[bytes] = []
    async for chunk in stream.chunks():
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            frame = b"".join([*parts, line])
            parts = []
            if frame:
                yield frame
        if rest:
            parts.append(rest)
