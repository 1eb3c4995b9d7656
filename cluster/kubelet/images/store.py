"""The content-addressed store of a machine's images: blobs, and what names stand for.

The folder is an OCI image layout (`oci-layout`, `index.json`, `blobs/sha256/HEX`), so that other
tools can read it. Several processes share it: nodes of one machine and the `raykube` command.
Writers take turns by a lock on `lock`; readers need none, since files are replaced in one step.
Blocking; callers on an event loop use threads.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import IO, Any

from cluster.kubelet.images import documents
from cluster.kubelet.images.documents import BadImage, Descriptor, ImageConfig, Manifest
from cluster.kubelet.images.names import Reference

Object = dict[str, Any]

_NAME = "io.containerd.image.name"
_DIGEST = "dev.raykube.image.digest"
_PART_AGE_S_MAX = 24 * 3600.0
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class StoredImage:
    """An image that is here in full. `digests`: NAME@DIGEST as they were pulled."""

    manifest: Descriptor
    image_id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    size_bytes: int
    config: ImageConfig
    layers: tuple[Descriptor, ...]

    def is_named(self, name: Reference) -> bool:
        if name.digest:
            return f"{name.name}@{name.digest}" in self.digests
        return name.tagged in self.tags


class ImageStore:
    def __init__(self, folder: str) -> None:
        self.folder = os.path.abspath(folder)
        self._blobs = os.path.join(self.folder, "blobs", "sha256")
        self._index = os.path.join(self.folder, "index.json")
        self._read: tuple[tuple[int, int], list[StoredImage]] | None = None

    def create(self) -> None:
        """Only for its owner: layers may hold programs that must not be run outside."""
        os.makedirs(self._blobs, mode=0o700, exist_ok=True)
        os.chmod(self.folder, 0o700)
        _write(os.path.join(self.folder, "oci-layout"), b'{"imageLayoutVersion": "1.0.0"}')

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """For whoever changes names or removes blobs."""
        self.create()
        with open(os.path.join(self.folder, "lock"), "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    # Blobs.

    def path(self, digest: str) -> str:
        return os.path.join(self._blobs, digest.removeprefix("sha256:"))

    def has(self, digest: str) -> bool:
        return os.path.exists(self.path(digest))

    def read(self, digest: str) -> bytes:
        """A small blob. Raises BadImage if it is not here, or is too large for a document."""
        try:
            with open(self.path(digest), "rb") as file:
                data = file.read(documents.DOCUMENT_SIZE_BYTES_MAX + 1)
        except FileNotFoundError:
            raise BadImage(f"blob {digest} is missing") from None
        if documents.digest_of(data) != digest:
            raise BadImage(f"blob {digest} is damaged, or too large for a document")
        return data

    def add(self, data: bytes) -> str:
        """A small blob; its digest."""
        digest = documents.digest_of(data)
        if not self.has(digest):
            _write(self.path(digest), data)
        return digest

    def add_stream(self, chunks: Iterable[bytes], wanted: Descriptor | None = None) -> Descriptor:
        """A blob from its pieces. Raises BadImage if it is not what was wanted."""
        self.create()
        path = os.path.join(self.folder, f"new-{uuid.uuid4().hex}")
        size, hasher = 0, hashlib.sha256()
        try:
            with open(path, "xb") as file:
                for chunk in chunks:
                    size += len(chunk)
                    if wanted is not None and size > wanted.size_bytes:
                        raise BadImage(f"blob {wanted.digest} is longer than announced")
                    hasher.update(chunk)
                    file.write(chunk)
            found = Descriptor("sha256:" + hasher.hexdigest(), size)
            if wanted is not None and (found.digest, size) != (wanted.digest, wanted.size_bytes):
                raise BadImage(f"blob {wanted.digest}: got {size} bytes with digest {found.digest}")
            os.replace(path, self.path(found.digest))
            return found
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def part_path(self, digest: str) -> str:
        """Where what has come of a blob so far is kept, so that a download goes on."""
        return self.path(digest) + ".part"

    def finish_part(self, wanted: Descriptor) -> None:
        """A download is complete. Raises BadImage, and drops it, if it is not what was wanted."""
        part = self.part_path(wanted.digest)
        hasher = hashlib.sha256()
        with open(part, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                hasher.update(chunk)
            size = file.tell()
        found = "sha256:" + hasher.hexdigest()
        if (found, size) != (wanted.digest, wanted.size_bytes):
            os.unlink(part)
            raise BadImage(f"blob {wanted.digest}: got {size} bytes with digest {found}")
        os.replace(part, self.path(wanted.digest))

    def manifest(self, digest: str) -> Manifest:
        return documents.manifest(documents.decode(self.read(digest)))

    # Names.

    def images(self) -> list[StoredImage]:
        """Every image that is here; those whose files are damaged are left out."""
        try:
            found = os.stat(self._index)
        except FileNotFoundError:
            return []
        state = (found.st_ino, found.st_mtime_ns)
        if self._read is None or self._read[0] != state:
            self._read = (state, _load(self, self._entries()))
        return list(self._read[1])

    def find(self, name: Reference) -> StoredImage | None:
        return next((image for image in self.images() if image.is_named(name)), None)

    def by_id(self, image_id: str) -> StoredImage | None:
        return next((image for image in self.images() if image.image_id == image_id), None)

    def name(self, manifest: Descriptor, names: Iterable[Reference]) -> StoredImage:
        """Let names stand for a manifest whose blobs are all here. Raises BadImage.

        A tag that stood for another image moves. A name's digest is what it was pulled by.
        """
        stored = _stored(self, manifest, [])
        with self.locked():
            entries = self._entries()
            for name in names:
                entries = [e for e in entries if not _is_replaced(e, name, manifest.digest)]
                entries.append(_entry(manifest, name))
            self._write_entries(entries)
        return self.by_id(stored.image_id) or stored

    def forget(self, image_id: str) -> None:
        """Take all names of an image away, and the blobs that no other image needs."""
        with self.locked():
            images = self.images()
            gone = [image for image in images if image.image_id == image_id]
            digests = {image.manifest.digest for image in gone}
            entries = self._entries()
            digests |= {e["digest"] for e in entries if self._config_of(e) == image_id}
            self._write_entries([e for e in entries if e.get("digest") not in digests])
            left = _needed(image for image in images if image.image_id != image_id)
            for digest in (_needed(gone) | digests) - left:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.path(digest))

    def _config_of(self, entry: Object) -> str:
        try:
            return self.manifest(str(entry.get("digest"))).config.digest
        except BadImage:
            return ""

    def collect(self) -> int:
        """Remove blobs that no image needs, and downloads that nobody goes on with; their bytes.

        Pulls write blobs before their names: young blobs stay.
        """
        with self.locked():
            used = _needed(self.images())
            return sum(_remove_old(entry, used) for entry in list(os.scandir(self._blobs)))

    def _entries(self) -> list[Object]:
        try:
            with open(self._index, "rb") as file:
                entries = json.load(file)["manifests"]
            return [entry for entry in entries if isinstance(entry, dict)]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return []

    def _write_entries(self, entries: list[Object]) -> None:
        value = {"schemaVersion": 2, "mediaType": documents.OCI_INDEX, "manifests": entries}
        _write(self._index, json.dumps(value, indent=1).encode())
        self._read = None


def _needed(images: Iterable[StoredImage]) -> set[str]:
    """Digests of their blobs."""
    found = set()
    for image in images:
        found |= {image.manifest.digest, image.image_id, *(each.digest for each in image.layers)}
    return found


_YOUNG_S = 3600.0


def _remove_old(entry: os.DirEntry[str], used: set[str]) -> int:
    found = entry.stat()
    limit_s = _PART_AGE_S_MAX if entry.name.endswith(".part") else _YOUNG_S
    age_s = time.time() - found.st_mtime
    if "sha256:" + entry.name in used or age_s < limit_s:
        return 0
    os.unlink(entry.path)
    return found.st_size


def _load(store: ImageStore, entries: list[Object]) -> list[StoredImage]:
    by_digest: dict[str, list[Object]] = {}
    for entry in entries:
        by_digest.setdefault(str(entry.get("digest")), []).append(entry)
    images: dict[str, StoredImage] = {}
    for found in by_digest.values():
        with contextlib.suppress(BadImage, OSError):
            image = _stored(store, documents.index({"manifests": found[:1]})[0], found)
            images[image.image_id] = _together(images.get(image.image_id), image)
    return list(images.values())


def _together(one: StoredImage | None, other: StoredImage) -> StoredImage:
    """Two manifests of one config are one image."""
    if one is None:
        return other
    tags = tuple(dict.fromkeys(one.tags + other.tags))
    return replace(one, tags=tags, digests=tuple(dict.fromkeys(one.digests + other.digests)))


def _stored(store: ImageStore, descriptor: Descriptor, entries: list[Object]) -> StoredImage:
    manifest = store.manifest(descriptor.digest)
    config = documents.config(documents.decode(store.read(manifest.config.digest)))
    if len(config.diff_ids) != len(manifest.layers):
        raise BadImage("the config and the manifest name different numbers of layers")
    for layer in manifest.layers:
        if not store.has(layer.digest):
            raise BadImage(f"blob {layer.digest} is missing")
    notes = [entry.get("annotations") or {} for entry in entries]
    return StoredImage(
        manifest=replace(descriptor, annotations={}),
        image_id=manifest.config.digest,
        tags=tuple(dict.fromkeys(note[_NAME] for note in notes if note.get(_NAME))),
        digests=tuple(dict.fromkeys(note[_DIGEST] for note in notes if note.get(_DIGEST))),
        size_bytes=manifest.config.size_bytes + sum(each.size_bytes for each in manifest.layers),
        config=config,
        layers=manifest.layers,
    )


def _entry(manifest: Descriptor, name: Reference) -> Object:
    notes = {}
    if name.tag:
        notes[_NAME] = name.tagged
    if name.digest:
        notes[_DIGEST] = f"{name.name}@{name.digest}"
    kind = manifest.media_type or documents.OCI_MANIFEST
    found = {"mediaType": kind, "digest": manifest.digest, "size": manifest.size_bytes}
    return found | {"annotations": notes}


def _is_replaced(entry: Object, name: Reference, digest: str) -> bool:
    """The tag moves away from what it stood for, or the same is said again."""
    notes = entry.get("annotations") or {}
    if name.tag:
        return bool(notes.get(_NAME) == name.tagged)
    same = entry.get("digest") == digest and _NAME not in notes
    return bool(same and notes.get(_DIGEST) == f"{name.name}@{name.digest}")


def _write(path: str, data: bytes) -> None:
    """In one step, so that no reader sees half of it."""
    new = f"{path}.{uuid.uuid4().hex}.new"
    with open(new, "wb") as file:
        file.write(data)
    os.replace(new, path)


def read_chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk
