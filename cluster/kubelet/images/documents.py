"""Manifests, indexes and configs of images as values. Pure.

OCI image specification 1.1 and Docker's schema 2, which differ in media types only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster.kubelet.images.names import is_digest

Object = dict[str, Any]

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEXES = (OCI_INDEX, DOCKER_INDEX)
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)

DOCUMENT_SIZE_BYTES_MAX = 4 << 20
_LAYERS_MAX = 256
_ENTRIES_MAX = 1024


class BadImage(Exception):
    """What should be an image is none, or one that we do not take."""


@dataclass(frozen=True)
class Descriptor:
    """A blob by its content."""

    digest: str
    size_bytes: int
    media_type: str = ""
    platform: Mapping[str, Any] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True)
class ImageConfig:
    """What an image says about its containers. `diff_ids`: digests of the layers as plain tar."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""
    diff_ids: tuple[str, ...] = ()


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def decode(data: bytes) -> Object:
    """Raises BadImage for anything but a JSON object of bearable size."""
    if len(data) > DOCUMENT_SIZE_BYTES_MAX:
        raise BadImage(f"a document of more than {DOCUMENT_SIZE_BYTES_MAX} bytes")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadImage(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadImage("not a JSON object")
    return value


def is_index(document: Object, media_type: str = "") -> bool:
    kind = document.get("mediaType") or media_type
    return kind in INDEXES or (kind not in MANIFESTS and "manifests" in document)


def index(document: Object) -> list[Descriptor]:
    """Raises BadImage."""
    return [_descriptor(each) for each in _objects(document, "manifests", _ENTRIES_MAX)]


def manifest(document: Object) -> Manifest:
    """Raises BadImage."""
    if document.get("schemaVersion") != 2:
        raise BadImage("only manifests of schema version 2 are supported")
    layers = tuple(_descriptor(each) for each in _objects(document, "layers", _LAYERS_MAX))
    return Manifest(_descriptor(document.get("config")), layers)


def config(document: Object) -> ImageConfig:
    """Raises BadImage."""
    run = document.get("config") or {}
    root = document.get("rootfs") or {}
    if not isinstance(run, dict) or not isinstance(root, dict):
        raise BadImage("the image's config is malformed")
    return ImageConfig(
        entrypoint=_words(run, "Entrypoint"),
        command=_words(run, "Cmd"),
        env=_words(run, "Env"),
        user=_text(run, "User"),
        working_dir=_text(run, "WorkingDir"),
        stop_signal=_text(run, "StopSignal"),
        diff_ids=_words(root, "diff_ids"),
    )


def choose(entries: Iterable[Descriptor], architecture: str, variant: str = "") -> Descriptor:
    """The manifest for this machine; one without a platform if nothing says better.

    `architecture` as Go names it (amd64, arm64). Raises BadImage if there is none.
    """
    entries = [each for each in entries if each.media_type not in INDEXES]
    fitting = [
        each
        for each in entries
        if (each.platform.get("os"), each.platform.get("architecture")) == ("linux", architecture)
    ]
    same = [each for each in fitting if each.platform.get("variant", "") == variant]
    anywhere = [each for each in entries if not each.platform]
    for found in (same, fitting, anywhere):
        if found:
            return found[0]
    raise BadImage(f"no match for platform linux/{architecture} in the manifest list")


def _objects(document: Object, name: str, count_max: int) -> list[Any]:
    found = document.get(name) or []
    if not isinstance(found, list) or len(found) > count_max:
        raise BadImage(f"{name} is malformed, or has more than {count_max} entries")
    return found


def _descriptor(value: Any) -> Descriptor:
    if not isinstance(value, dict):
        raise BadImage("a descriptor is malformed")
    digest, size = value.get("digest"), value.get("size")
    if not isinstance(digest, str) or not is_digest(digest):
        raise BadImage(f"unsupported digest {digest!r}")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise BadImage(f"blob {digest} has no valid size")
    platform, annotations = value.get("platform") or {}, value.get("annotations") or {}
    if not isinstance(platform, dict) or not isinstance(annotations, dict):
        raise BadImage("a descriptor is malformed")
    return Descriptor(digest, size, str(value.get("mediaType") or ""), platform, annotations)


def _words(values: Object, name: str) -> tuple[str, ...]:
    found = values.get(name) or []
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise BadImage(f"the image's {name} is not a list of texts")
    return tuple(found)


def _text(values: Object, name: str) -> str:
    found = values.get(name) or ""
    if not isinstance(found, str):
        raise BadImage(f"the image's {name} is not a text")
    return found
