"""`raykube certificates`: the options; what is done is in `renewal`."""

from __future__ import annotations

import click

from cluster.cli.errors import EXIT_CODES
from cluster.cli.options import NAME


@click.group()
def certificates() -> None:
    """Show and renew the cluster's certificates."""


@certificates.command(name="list", epilog=EXIT_CODES)
@NAME
def list_(name: str) -> None:
    """Show every certificate in the cluster's folder, the one that ends first on top."""
    from cluster.cli import renewal

    renewal.show(name)


@certificates.command(epilog=EXIT_CODES)
@NAME
@click.option("--within", "within_days", type=click.IntRange(0), default=30, show_default=True,
              metavar="DAYS", help="Renew what ends within so many days.")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Renew every certificate.")
@click.option("-q", "--quiet", is_flag=True)
def renew(name: str, within_days: int, everything: bool, quiet: bool) -> None:
    """Renew certificates, and start again who uses them, one after another."""
    from cluster.cli import renewal

    renewal.renew(name, within_days, everything, quiet)
