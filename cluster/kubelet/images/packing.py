"""Images from folders and archives: OCI layouts, what `docker save` writes, plain root folders.

Nothing of an archive is ever unpacked to the disk by its own names: its files are read as blobs.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

from cluster.kubelet.images import documents
from cluster.kubelet.images.documents import BadImage, Descriptor
from cluster.kubelet.images.layers import decompressed
from cluster.kubelet.images.names import InvalidName, Reference, parse
from cluster.kubelet.images.store import ImageStore, StoredImage, read_chunks

Object = dict[str, Any]
Open = Callable[[str], IO[bytes]]
"""A file of the source by its name there. Raises KeyError or FileNotFoundError."""

_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_MEMBERS_MAX = 100_000


def load(
    store: ImageStore, path: str, architecture: str, name: Reference | None = None
) -> list[StoredImage]:
    """Every image of an archive or a folder. `name` is for images that bring none.

    Raises BadImage, OSError.
    """
    store.create()
    if os.path.isdir(path):
        return _load_folder(store, path, architecture, name)
    with open(path, "rb") as raw, tempfile.TemporaryFile(dir=store.folder) as plain:
        source: IO[bytes] = raw
        if decompressed(raw) is not raw:
            for chunk in read_chunks(decompressed(raw)):
                plain.write(chunk)
            source = plain
        source.seek(0)
        return _load_archive(store, source, path, architecture, name)


def _load_folder(
    store: ImageStore, path: str, architecture: str, name: Reference | None
) -> list[StoredImage]:
    def opened(inside: str) -> IO[bytes]:
        whole = os.path.realpath(os.path.join(path, inside))
        if not whole.startswith(os.path.realpath(path) + "/"):
            raise BadImage(f"{inside!r} leads out of the folder")
        return open(whole, "rb")

    names = {each for each in ("index.json", "manifest.json", "oci-layout")
             if os.path.isfile(os.path.join(path, each))}  # fmt: skip
    if names:
        return _load_from(store, opened, names, architecture, name)
    if name is None:
        raise BadImage(f"{path} is a root folder, which has no name: give one")
    return [from_root(store, path, architecture, name)]


def _load_archive(
    store: ImageStore, file: IO[bytes], path: str, architecture: str, name: Reference | None
) -> list[StoredImage]:
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            members = {}
            for member in tar:
                members[os.path.normpath(member.name)] = member
                if len(members) > _MEMBERS_MAX:
                    raise BadImage("too many files in the archive")

            def opened(inside: str) -> IO[bytes]:
                member = members[os.path.normpath(inside)]
                found = tar.extractfile(member)
                if found is None:
                    raise BadImage(f"{inside!r} of the archive is not a file")
                return found

            return _load_from(store, opened, set(members), architecture, name)
    except (tarfile.TarError, EOFError, RecursionError) as error:
        raise BadImage(f"{path} is not an archive of images: {error}") from None


def _load_from(
    store: ImageStore, opened: Open, names: set[str], architecture: str, name: Reference | None
) -> list[StoredImage]:
    try:
        if "index.json" in names:
            return _load_layout(store, opened, architecture, name)
        if "manifest.json" in names:
            return _load_saved(store, opened, architecture, name)
    except (KeyError, FileNotFoundError, TypeError) as error:
        raise BadImage(f"the archive is incomplete: {error} is missing") from None
    raise BadImage("neither an OCI layout (index.json) nor `docker save` (manifest.json)")


# OCI layouts.


def _load_layout(
    store: ImageStore, opened: Open, architecture: str, name: Reference | None
) -> list[StoredImage]:
    found = []
    for entry in documents.index(_document(opened, "index.json")):
        reference = _named(entry, name)
        manifest = _copy_manifest(store, opened, entry, architecture)
        found.append(store.name(manifest, [reference.with_digest(entry.digest)]))
    if not found:
        raise BadImage("the layout's index names no image")
    return found


def _named(entry: Descriptor, name: Reference | None) -> Reference:
    if name is not None:
        return name
    for key in _NAMES:
        text = entry.annotations.get(key, "")
        if ":" in text or "/" in text:  # a bare tag names nothing
            try:
                return parse(text)
            except InvalidName as error:
                raise BadImage(str(error)) from None
    raise BadImage("the layout does not say the image's name: give one")


def _copy_manifest(
    store: ImageStore, opened: Open, entry: Descriptor, architecture: str
) -> Descriptor:
    document = _document(opened, _blob(entry.digest), entry)
    if documents.is_index(document, entry.media_type):
        chosen = documents.choose(documents.index(document), architecture)
        return _copy_manifest(store, opened, chosen, architecture)
    manifest = documents.manifest(document)
    for blob in (manifest.config, *manifest.layers, entry):
        if not store.has(blob.digest):
            with opened(_blob(blob.digest)) as file:
                store.add_stream(read_chunks(file), blob)
    return entry


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _document(opened: Open, path: str, wanted: Descriptor | None = None) -> Object:
    with opened(path) as file:
        data = file.read(documents.DOCUMENT_SIZE_BYTES_MAX + 1)
    if wanted is not None and documents.digest_of(data) != wanted.digest:
        raise BadImage(f"{path} is not {wanted.digest}")
    return documents.decode(data)


# `docker save`.


def _load_saved(
    store: ImageStore, opened: Open, architecture: str, name: Reference | None
) -> list[StoredImage]:
    with opened("manifest.json") as file:
        entries = json.loads(file.read(documents.DOCUMENT_SIZE_BYTES_MAX))
    if not isinstance(entries, list):
        raise BadImage("manifest.json is malformed")
    return [_load_saved_image(store, opened, entry, name) for entry in entries]


def _load_saved_image(
    store: ImageStore, opened: Open, entry: Object, name: Reference | None
) -> StoredImage:
    with opened(entry["Config"]) as file:
        config = file.read(documents.DOCUMENT_SIZE_BYTES_MAX)
    layers = []
    for path in entry["Layers"]:
        with opened(path) as file:
            layers.append(store.add_stream(read_chunks(file)))
    try:
        names = [name] if name is not None else [parse(tag) for tag in entry.get("RepoTags") or ()]
    except InvalidName as error:
        raise BadImage(str(error)) from None
    if not names:
        raise BadImage("the archive does not say the image's name: give one")
    return store.name(_add_manifest(store, config, layers), names)


def _add_manifest(store: ImageStore, config: bytes, layers: list[Descriptor]) -> Descriptor:
    documents.config(documents.decode(config))
    described = {"mediaType": documents.OCI_CONFIG, "digest": store.add(config)}
    document = {
        "schemaVersion": 2,
        "mediaType": documents.OCI_MANIFEST,
        "config": described | {"size": len(config)},
        "layers": [
            {"mediaType": documents.OCI_LAYER, "digest": each.digest, "size": each.size_bytes}
            for each in layers
        ],
    }
    data = json.dumps(document, sort_keys=True).encode()
    return Descriptor(store.add(data), len(data), documents.OCI_MANIFEST)


# Root folders.


def from_root(
    store: ImageStore, path: str, architecture: str, name: Reference, run: Object | None = None
) -> StoredImage:
    """An image of one layer. `run` is the `config` of the image's config (Cmd, Env, ...)."""
    store.create()
    with tempfile.TemporaryFile(dir=store.folder) as plain:
        with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
            tar.add(path, ".", filter=_reproducible)
        plain.seek(0)
        diff_id = _digest(plain)
        plain.seek(0)
        layer = store.add_stream(_compressed(plain))
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": run or {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(0)),
    }
    manifest = _add_manifest(store, json.dumps(config, sort_keys=True).encode(), [layer])
    return store.name(manifest, [name])


def _reproducible(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Sockets have no place in an archive, and devices none in an image."""
    return None if member.ischr() or member.isblk() else member


def _digest(file: IO[bytes]) -> str:
    hasher = hashlib.sha256()
    for chunk in read_chunks(file):
        hasher.update(chunk)
    return "sha256:" + hasher.hexdigest()


def _compressed(file: IO[bytes]) -> Iterator[bytes]:
    with tempfile.TemporaryFile() as packed:
        with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1, mtime=0) as target:
            for chunk in read_chunks(file):
                target.write(chunk)
        packed.seek(0)
        yield from read_chunks(packed)
