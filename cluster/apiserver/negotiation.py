"""Which shape and encoding a client wants (Accept) and sends (Content-Type). Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from cluster.machinery import status

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
BODIES = (JSON, YAML, PROTOBUF)
AS_JSON = (JSON, "*/*", "application/*")
META_GROUP = "meta.k8s.io"
META_VERSIONS = ("v1", "v1beta1")
SHAPES = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
TYPED = frozenset({"", "PartialObjectMetadata", "PartialObjectMetadataList"})
"""Shapes of built-in objects that have a protobuf message; a Table has none (as upstream)."""
CUSTOM = TYPED - {""}
"""Those of custom resources: only their metadata has one."""
UNTYPED = frozenset[str]()


@dataclass(frozen=True, slots=True)
class MediaType:
    """One clause of an Accept header, or a Content-Type."""

    name: str
    parameters: tuple[tuple[str, str], ...] = ()

    def parameter(self, key: str) -> str:
        return dict(self.parameters).get(key, "")


@dataclass(frozen=True, slots=True)
class Wanted:
    """How to answer: `shape` is "" (the object itself), or one of SHAPES in `version`."""

    shape: str = ""
    version: str = "v1"
    encoding: str = JSON

    @property
    def content_type(self) -> str:
        """The media type to answer with; a watch of objects is plain JSON too."""
        if not self.shape:
            return self.encoding
        return f"{self.encoding};as={self.shape};v={self.version};g={META_GROUP}"


@lru_cache(maxsize=256)
def parse_accept(header: str) -> tuple[MediaType, ...]:
    """Clauses, most wanted first (q, then order); clauses with q=0 are dropped."""
    clauses: list[tuple[float, int, MediaType]] = []
    for position, text in enumerate(header.split(",")):
        clause, quality = _clause(text)
        if clause.name and quality > 0:
            clauses.append((-quality, position, clause))
    return tuple(clause for _, _, clause in sorted(clauses, key=lambda c: c[:2]))


def _clause(text: str) -> tuple[MediaType, float]:
    name, *pairs = (part.strip() for part in text.split(";"))
    parameters = [(k.strip().lower(), v.strip()) for k, _, v in (p.partition("=") for p in pairs)]
    quality = next((v for k, v in parameters if k == "q"), "1")
    kept = tuple((k, v) for k, v in parameters if k != "q")
    try:
        return MediaType(name.lower(), kept), float(quality)
    except ValueError:
        return MediaType(name.lower(), kept), 1.0


@lru_cache(maxsize=256)
def wanted(accept: str, tables: bool = True, messages: frozenset[str] = TYPED) -> Wanted:
    """The best answer that can be given; 406 if there is none. No header means JSON.

    `messages`: the shapes that have a protobuf form. JSON is given instead to who takes it in the
    same shape: it is there already, while protobuf is made for each reader.
    """
    if not accept:
        return Wanted()
    offers = [_offer(clause, tables, messages) for clause in parse_accept(accept)]
    found = next((offer for offer in offers if offer is not None), None)
    if found is None:
        raise status.not_acceptable(BODIES if "" in messages else (JSON, YAML))
    as_json = replace(found, encoding=JSON)
    return as_json if found.encoding == PROTOBUF and as_json in offers else found


@lru_cache(maxsize=256)
def plain_encoding(accept: str) -> str:
    """For what must be told however little the client accepts, as errors: JSON or protobuf."""
    names = {clause.name for clause in parse_accept(accept)}
    return PROTOBUF if PROTOBUF in names and names.isdisjoint(AS_JSON) else JSON


def _offer(clause: MediaType, tables: bool, messages: frozenset[str]) -> Wanted | None:
    shape = clause.parameter("as")
    if clause.name in AS_JSON:
        encoding = JSON
    elif clause.name == YAML or (clause.name == PROTOBUF and shape in messages):
        encoding = clause.name
    else:
        return None
    if not shape:
        return Wanted(encoding=encoding)
    version = clause.parameter("v")
    known = shape in SHAPES and clause.parameter("g") == META_GROUP and version in META_VERSIONS
    return Wanted(shape, version, encoding) if known and tables else None


def body_type(content_type: str) -> str:
    """The media type of a request body; 415 if it cannot be read. No header means JSON."""
    name = content_type.partition(";")[0].strip().lower()
    if name in ("", JSON):
        return JSON
    if name in BODIES:
        return name
    raise status.unsupported_media_type(BODIES)
