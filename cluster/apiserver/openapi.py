"""OpenAPI documents as bytes: made on first use, then served from memory with an ETag."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from cluster.apiserver.http.messages import Request, Response
from cluster.apiserver.negotiation import JSON, parse_accept
from cluster.machinery import openapi, status
from cluster.machinery.codec import json_codec
from cluster.machinery.resources import Resource

V2_PATH = "/openapi/v2"
V3_PATH = "/openapi/v3"
V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
V2_PROTOBUF_ANSWERED = V2_PROTOBUF.replace("@", ".")  # Go refuses to parse a type with an "@"
V2_JSON = "application/com.github.proto-openapi.spec.v2@v1.0+json"
CACHE_FOREVER = "public, immutable, max-age=31536000"


class OpenApi:
    """Documents of the served resources."""

    def __init__(self, served: Sequence[Resource], release: str) -> None:
        self._served, self._release = served, release
        self._roots = openapi.paths_by_group_version(served)
        self._made: dict[str, tuple[bytes, str]] = {}

    def answer(self, request: Request) -> Response | None:
        """None if the path is none of ours."""
        path = request.path.rstrip("/")
        if path == V2_PATH:
            return self._v2(request)
        if path == V3_PATH:
            return self._reply(request, *self._index(), JSON)
        root = path.removeprefix(V3_PATH + "/")
        if root == path or root not in self._roots:
            return None
        body, tag = self._v3(root)
        response = self._reply(request, body, tag, JSON)
        if request.parameter("hash") == tag:
            response.headers["Cache-Control"] = CACHE_FOREVER
        return response

    def _v2(self, request: Request) -> Response:
        for clause in parse_accept(request.headers.get("accept", "") or JSON):
            if clause.name in (JSON, V2_JSON, "*/*", "application/*"):
                return self._reply(request, *self._make("v2", self._v2_json), JSON)
            if clause.name == V2_PROTOBUF:
                made = self._make("v2pb", self._v2_protobuf)
                return self._reply(request, *made, V2_PROTOBUF_ANSWERED)
        raise status.not_acceptable((JSON, V2_PROTOBUF))

    def _v2_json(self) -> bytes:
        return json_codec.encode(openapi.v2_document(self._served, self._release))

    def _v2_protobuf(self) -> bytes:
        return openapi.encode_v2_protobuf(openapi.v2_document(self._served, self._release))

    def _index(self) -> tuple[bytes, str]:
        def make() -> bytes:
            paths = {
                root: {"serverRelativeURL": f"{V3_PATH}/{root}?hash={self._v3(root)[1]}"}
                for root in self._roots
            }
            return json_codec.encode({"paths": paths})

        return self._make("index", make)

    def _v3(self, root: str) -> tuple[bytes, str]:
        def make() -> bytes:
            return json_codec.encode(openapi.v3_document(self._roots[root], self._release))

        return self._make(root, make)

    def _make(self, name: str, make: Callable[[], bytes]) -> tuple[bytes, str]:
        """The document and the hash of its content."""
        found = self._made.get(name)
        if found is None:
            body = make()
            found = self._made[name] = body, hashlib.sha256(body).hexdigest().upper()
        return found

    def _reply(self, request: Request, body: bytes, tag: str, content_type: str) -> Response:
        headers = {"ETag": f'"{tag}"', "Vary": "Accept"}
        known = request.headers.get("if-none-match", "")
        if f'"{tag}"' in known:
            return Response(304, b"", content_type, headers)
        return Response(200, body, content_type, headers)
