"""Which shape and encoding a client wants (Accept) and sends (Content-Type). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from cluster.machinery import status

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
BODIES = (JSON, YAML, PROTOBUF)
META_GROUP = "meta.k8s.io"
META_VERSIONS = ("v1", "v1beta1")
SHAPES = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")


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
def wanted(accept: str, tables: bool = True) -> Wanted:
    """The best answer that can be given; 406 if there is none. No header means JSON."""
    if not accept:
        return Wanted()
    for clause in parse_accept(accept):
        found = _offer(clause, tables)
        if found is not None:
            return found
    raise status.not_acceptable((JSON, YAML))


def _offer(clause: MediaType, tables: bool) -> Wanted | None:
    if clause.name in (JSON, "*/*", "application/*"):
        encoding = JSON
    elif clause.name == YAML:
        encoding = YAML
    else:
        return None
    shape = clause.parameter("as")
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
