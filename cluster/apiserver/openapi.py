"""OpenAPI documents as bytes: made on first use, then served from memory with an ETag."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from cluster.apiserver.catalogue import Catalogue
from cluster.apiserver.context import Kept
from cluster.apiserver.descriptions import Descriptions
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
V3_FORM, V2_JSON_FORM, V2_PROTOBUF_FORM, INDEX = "v3/", "v2", "v2pb", "index"
BARE_V3_FORM = "v3-bare/"


class Others(Protocol):
    """Documents of the servers behind this one. `generation` changes with them."""

    @property
    def generation(self) -> int: ...

    def index(self) -> Mapping[str, str]:
        """Version 3: URLs by `apis/GROUP/VERSION`."""
        ...

    def document(self, root: str) -> bytes | None:
        """Version 3 of one of them, if it is answered here."""
        ...

    def v2_documents(self) -> Sequence[dict[str, Any]]: ...


class OpenApi:
    """Documents of what the catalogue holds. A change remakes only what it concerns."""

    def __init__(self, catalogue: Catalogue, release: str, others: Others) -> None:
        self._catalogue, self._release, self._others = catalogue, release, others
        self._generation = -1, -1
        self._roots: dict[str, list[Resource]] = {}
        self._kept: dict[str, Kept] = {}
        self._made: dict[str, tuple[bytes, str]] = {}
        self._descriptions = Descriptions()

    def answer(self, request: Request) -> Response | None:
        """None if the path is none of ours."""
        path = request.path.rstrip("/")
        if not path.startswith("/openapi/"):
            return None
        self._follow()
        if path == V2_PATH:
            return self._v2(request)
        if path == V3_PATH:
            return self._reply(request, *self._index(), JSON)
        root = path.removeprefix(V3_PATH + "/")
        remote = self._others.document(root)
        if root == path or (root not in self._roots and remote is None):
            return None
        body, tag = (remote, _tag(remote)) if remote is not None else self._v3(root)
        response = self._reply(request, body, tag, JSON)
        if request.parameter("hash") == tag:
            response.headers["Cache-Control"] = CACHE_FOREVER
        return response

    def _follow(self) -> None:
        """Forget the documents of groups whose resources have changed."""
        now = self._catalogue.generation, self._others.generation
        if self._generation == now:
            return
        self._generation = now
        kept = dict(self._catalogue.kept)
        roots = openapi.paths_by_group_version(self._catalogue.resources)
        for root in {*roots, *self._roots}:
            if self._members(root, roots, kept) != self._members(root, self._roots, self._kept):
                self._made.pop(V3_FORM + root, None)
                self._made.pop(BARE_V3_FORM + root, None)
        for name in (INDEX, V2_JSON_FORM, V2_PROTOBUF_FORM):
            self._made.pop(name, None)
        self._roots, self._kept = roots, kept

    def _members(
        self, root: str, roots: Mapping[str, Sequence[Resource]], kept: Mapping[str, Kept]
    ) -> list[Kept]:
        found = (kept.get(f"{r.api_version}/{r.plural}") for r in roots.get(root, ()))
        return [each for each in found if each is not None]

    def _schemas(self, kept: Sequence[Kept]) -> list[openapi.CustomSchema]:
        return [openapi.CustomSchema(k.resource, k.schema) for k in kept if k.schema is not None]

    def _v2(self, request: Request) -> Response:
        for clause in parse_accept(request.headers.get("accept", "") or JSON):
            if clause.name in (JSON, V2_JSON, "*/*", "application/*"):
                return self._reply(request, *self._make(V2_JSON_FORM, self._v2_json), JSON)
            if clause.name == V2_PROTOBUF:
                made = self._make(V2_PROTOBUF_FORM, self._v2_protobuf)
                return self._reply(request, *made, V2_PROTOBUF_ANSWERED)
        raise status.not_acceptable((JSON, V2_PROTOBUF))

    def _v2_document(self) -> dict[str, object]:
        custom = self._schemas(list(self._kept.values()))
        served = self._catalogue.resources
        own = openapi.v2_document(served, self._release, custom, self._descriptions.of)
        return openapi.merged(own, self._others.v2_documents())

    def _v2_json(self) -> bytes:
        return json_codec.encode(self._v2_document())

    def _v2_protobuf(self) -> bytes:
        return openapi.encode_v2_protobuf(self._v2_document())

    def _index(self) -> tuple[bytes, str]:
        def make() -> bytes:
            urls = {root: f"{V3_PATH}/{root}?hash={self._hash(root)}" for root in self._roots}
            urls |= self._others.index()
            paths = {root: {"serverRelativeURL": url} for root, url in urls.items()}
            return json_codec.encode({"paths": paths})

        return self._make(INDEX, make)

    def _hash(self, root: str) -> str:
        """Of what the document says; what fields are for is read when somebody asks."""
        return self._make(BARE_V3_FORM + root, lambda: self._v3_document(root, None))[1]

    def _v3(self, root: str) -> tuple[bytes, str]:
        describe = self._descriptions.of
        made = self._make(V3_FORM + root, lambda: self._v3_document(root, describe))
        return made[0], self._hash(root)

    def _v3_document(self, root: str, describe: openapi.Describe | None) -> bytes:
        custom = self._schemas(self._members(root, self._roots, self._kept))
        document = openapi.v3_document(self._roots[root], self._release, custom, describe)
        return json_codec.encode(document)

    def _make(self, name: str, make: Callable[[], bytes]) -> tuple[bytes, str]:
        """The document and the hash of its content."""
        found = self._made.get(name)
        if found is None:
            body = make()
            found = self._made[name] = body, _tag(body)
        return found

    def _reply(self, request: Request, body: bytes, tag: str, content_type: str) -> Response:
        headers = {"ETag": f'"{tag}"', "Vary": "Accept"}
        known = request.headers.get("if-none-match", "")
        if f'"{tag}"' in known:
            return Response(304, b"", content_type, headers)
        return Response(200, body, content_type, headers)


def _tag(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest().upper()
