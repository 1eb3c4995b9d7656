"""`raykube image`: options and help; what the verbs do is in `images`, imported late."""

from __future__ import annotations

import importlib
from typing import Any

import click

from cluster.cli.errors import EXIT_CODES
from cluster.cli.options import NAME


def _run(verb: str, **options: Any) -> None:
    getattr(importlib.import_module("cluster.cli.images"), verb)(**options)


@click.group(epilog=EXIT_CODES)
def image() -> None:
    """Images for pods, in the store that a cluster's nodes on this machine share."""


@image.command("load", epilog=EXIT_CODES)
@NAME
@click.argument("path", type=click.Path(exists=True))
@click.option("--as", "tag", default="", metavar="NAME",
              help="The image's name, e.g. app:1; needed where the source has none.")  # fmt: skip
def load(**options: Any) -> None:
    """Load images from PATH: what `docker save` wrote, or an OCI layout, as an archive or a folder;
    or a folder that is to be a container's root.

    Pods use it by its name, with imagePullPolicy IfNotPresent (the default, but for :latest) or
    Never.
    """
    _run("load", **options)


@image.command("list", epilog=EXIT_CODES)
@NAME
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def list_(**options: Any) -> None:
    """Show the images that are here."""
    _run("list_", **options)


@image.command("remove", epilog=EXIT_CODES)
@NAME
@click.argument("image")
def remove(**options: Any) -> None:
    """Remove IMAGE, by name or id. Refused while a container uses it."""
    _run("remove", **options)
