"""What `raykube image` does: works on the store's files, whether nodes run or not."""

from __future__ import annotations

import json
import os

import click

from cluster.cli import clusters, tables
from cluster.cli.errors import USAGE, CommandError
from cluster.kubelet.images import packing
from cluster.kubelet.images.documents import BadImage
from cluster.kubelet.images.names import InvalidName, Reference, parse
from cluster.kubelet.images.roots import InUse, Roots
from cluster.kubelet.images.store import ImageStore, StoredImage
from cluster.kubelet.node_object import architecture


def load(name: str, path: str, tag: str) -> None:
    store = _store(name)
    try:
        found = packing.load(store, path, architecture(), _parse(tag) if tag else None)
        for image in found:
            os.close(Roots(store).use(image))
            click.echo(f"loaded {_name(image)}")
    except BadImage as error:
        hint = "give it one with --as NAME" if "give one" in str(error) else ""
        raise CommandError(f"{path}: {error}", hint=hint) from None


def list_(name: str, output: str) -> None:
    images = sorted(_store(name).images(), key=_name)
    if output == "json":
        click.echo(json.dumps([_described(image) for image in images], indent=2))
        return
    rows = [("IMAGE", "ID", "SIZE")]
    for image in images:
        size = f"{image.size_bytes / 1e6:.1f} MB"
        for each in image.tags or image.digests:
            rows.append((each, image.image_id.removeprefix("sha256:")[:12], size))
    click.echo(tables.lines(rows))


def remove(name: str, image: str) -> None:
    store = _store(name)
    found = _find(store, image)
    if found is None:
        hint = "see `raykube image list`"
        raise CommandError(f"no image {image!r} is here", hint=hint)
    try:
        Roots(store).remove(found.image_id)
    except InUse:
        hint = "delete the pods that use it first"
        raise CommandError(f"a container uses {image}", hint=hint) from None
    store.forget(found.image_id)
    click.echo(f"removed {_name(found)}")


def _store(name: str) -> ImageStore:
    store = ImageStore(clusters.load(name).image_store)
    store.create()
    return store


def _find(store: ImageStore, text: str) -> StoredImage | None:
    ids = [each for each in store.images() if _is_id(each, text)]
    return ids[0] if len(ids) == 1 else store.find(_parse(text))


def _is_id(image: StoredImage, text: str) -> bool:
    short = text.removeprefix("sha256:")
    return len(short) >= 6 and image.image_id.removeprefix("sha256:").startswith(short)


def _parse(text: str) -> Reference:
    try:
        return parse(text)
    except InvalidName as error:
        raise CommandError(str(error), code=USAGE) from None


def _name(image: StoredImage) -> str:
    return (image.tags or image.digests or (image.image_id,))[0]


def _described(image: StoredImage) -> dict[str, object]:
    names = {"tags": list(image.tags), "digests": list(image.digests)}
    return {"id": image.image_id, "sizeBytes": image.size_bytes} | names
