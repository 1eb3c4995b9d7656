"""`python -m raftstore.simulation store --seeds A..B`, or `planted`; see docs/simulation.md."""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial

import click

from raftstore.simulation.planted import PLANTED
from raftstore.simulation.planted import planted as plant
from raftstore.simulation.run import Report, run_seed


@click.group()
def main() -> None:
    """Deterministic simulation: every fault from a seed, every promise checked."""


@main.command()
@click.option("--seeds", required=True, help="A..B, both included, or one seed")
@click.option("--members", default=3, type=click.Choice([3, 5]), show_default=True)
@click.option("--workers", default=1, show_default=True)
@click.option("--bug", default="", help="plant this bug")
def store(seeds: str, members: int, workers: int, bug: str) -> None:
    """Run seeds against the store; status 1 if a promise was broken."""
    first, _, last = seeds.partition("..")
    numbers = range(int(first), int(last or first) + 1)
    with ProcessPoolExecutor(workers) as pool:
        reports = pool.map(partial(run_with, bug, members), numbers)
        failed = sum(_tell(report, bug) for report in reports)
    click.echo(f"{len(numbers)} seeds, {failed} with violations")
    sys.exit(1 if failed else 0)


@main.command()
@click.option("--seeds", default=200, show_default=True, help="how many to try for each bug")
@click.option("--only", default="", help="a part of the names of the bugs to plant")
@click.option("--members", default=3, type=click.Choice([3, 5]), show_default=True)
@click.option("--workers", default=1, show_default=True)
def planted(seeds: int, only: str, members: int, workers: int) -> None:
    """Plant bugs, one at a time; status 1 if one is not found."""
    names = [name for name in PLANTED if only in name]
    with ProcessPoolExecutor(workers) as pool:
        found = sum(map(_tell_found, names, pool.map(partial(find, seeds, members), names)))
    click.echo(f"{found} of {len(names)} planted bugs found")
    sys.exit(0 if names and found == len(names) else 1)


def run_with(bug: str, members: int, seed: int) -> Report:
    with plant(bug) if bug else nullcontext():
        return run_seed(seed, members)


def find(seeds: int, members: int, bug: str) -> Report | None:
    """The first seed that shows a planted bug."""
    reports = (run_with(bug, members, seed) for seed in range(1, seeds + 1))
    return next((report for report in reports if report.violations), None)


def _tell_found(name: str, report: Report | None) -> bool:
    if report is None:
        click.echo(f"{name}: NOT FOUND")
    else:
        click.echo(f"{name}: found by seed {report.seed}: {report.violations[0][:200]}")
        click.echo(f"  replay: {_replay(report, name)}")
    return report is not None


def _tell(report: Report, bug: str) -> bool:
    click.echo(
        f"seed {report.seed}: {report.answered} of {report.calls} calls answered, "
        f"{report.revisions} revisions, {report.leases} leases, trace {report.trace_hash}"
    )
    if report.violations:
        click.echo("\n".join(f"  {fault}" for fault in report.faults))
        click.echo("\n".join(f"  VIOLATION {text}" for text in report.violations[:10]))
        click.echo(f"  replay: {_replay(report, bug)}")
    return bool(report.violations)


def _replay(report: Report, bug: str) -> str:
    return report.replay + (f" --bug '{bug}'" if bug else "")


if __name__ == "__main__":
    main()
