"""`raykube nodes`: options and help; what the verbs do is in `simulate`, imported late."""

from __future__ import annotations

import importlib
from typing import Any

import click

from cluster.cli.errors import EXIT_CODES
from cluster.cli.options import NAME, Seconds


def _run(verb: str, **options: Any) -> None:
    getattr(importlib.import_module("cluster.cli.simulate"), verb)(**options)


@click.group(epilog=EXIT_CODES)
def nodes() -> None:
    """Make simulated nodes, thousands if need be, and remove them again."""


@nodes.command("simulate", epilog=EXIT_CODES)
@NAME
@click.argument("count", type=click.IntRange(0, 20_000))
@click.option("--prefix", default="sim", show_default=True, help="Nodes are named PREFIX-NUMBER.")
@click.option("--zones", default="", metavar="A,B,...", help="Labels of zones, dealt out in turn.")
@click.option("--cpu", default="4", show_default=True)
@click.option("--memory", default="32Gi", show_default=True)
@click.option("--pods", type=click.IntRange(1, 60_000), default=110, show_default=True)
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE")
@click.option("--taint", is_flag=True,
              help="Only pods that tolerate raykube.dev/simulated are put there.")  # fmt: skip
@click.option("--behaviour", default="", metavar="YAML",
              help="What they and their pods do, e.g. '{boot: 1s, ready: 2s}'.")  # fmt: skip
@click.option("--rules", type=click.Path(exists=True, dir_okay=False), metavar="FILE",
              help="A YAML list: behaviours of pods by label, owner, node.")  # fmt: skip
@click.option("--wait", type=Seconds(), default="5m", show_default=True,
              help="How long to wait until they are Ready; 0 does not wait.")  # fmt: skip
def simulate(**options: Any) -> None:
    """Add COUNT simulated nodes to a cluster that was started with --simulated-nodes or --fleets.

    A pod there is Running and Ready at once and stays so, and a Job's pod ends well after a second,
    unless an annotation raykube.dev/simulate of the pod or its node, or a rule, says otherwise:

    \b
    {start: 1s-3s, ready: 2s, stop: 1s}          how long things take
    {exit: {after: 30s, code: 1, share: 0.5}}    half of the containers crash after 30 s
    {failStart: {reason: ErrImagePull}}          containers that cannot be created
    {evict: {after: 1m}}                         the node evicts the pod
    {logs: {lines: ["tick {n}"], every: 1s}}     what `kubectl logs` shows
    {power: off}, {conditions: {DiskPressure: True}}, {boot: 10s}     of nodes
    """
    _run("simulate", **options)


@nodes.command("remove", epilog=EXIT_CODES)
@NAME
@click.argument("nodes", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every simulated node.")
def remove(**options: Any) -> None:
    """Delete simulated nodes; controllers end their pods."""
    _run("remove", **options)
