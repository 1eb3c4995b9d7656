"""`python -m raftstore.simulation store --seeds A..B`, or `planted`; see docs/simulation.md."""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
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
def store(seeds: str, members: int, workers: int) -> None:
    """Run seeds against the store; status 1 if a promise was broken."""
    first, _, last = seeds.partition("..")
    numbers = range(int(first), int(last or first) + 1)
    with ProcessPoolExecutor(workers) as pool:
        failed = sum(map(_tell, pool.map(partial(run_seed, members=members), numbers)))
    click.echo(f"{len(numbers)} seeds, {failed} with violations")
    sys.exit(1 if failed else 0)


@main.command()
@click.option("--seeds", default=200, show_default=True, help="how many to try for each bug")
@click.option("--only", default="", help="the name of one bug")
@click.option("--members", default=3, type=click.Choice([3, 5]), show_default=True)
def planted(seeds: int, only: str, members: int) -> None:
    """Plant bugs, one at a time; status 1 if one is not found."""
    missed = sum(not _find(name, seeds, members) for name in ([only] if only else PLANTED))
    sys.exit(1 if missed else 0)


def _find(name: str, seeds: int, members: int) -> bool:
    with plant(name):
        for seed in range(1, seeds + 1):
            report = run_seed(seed, members)
            if report.violations:
                click.echo(f"{name}: found by seed {seed}: {report.violations[0][:200]}")
                return True
    click.echo(f"{name}: NOT FOUND in {seeds} seeds")
    return False


def _tell(report: Report) -> bool:
    click.echo(
        f"seed {report.seed}: {report.answered} of {report.calls} calls answered, "
        f"{report.revisions} revisions, {report.leases} leases, trace {report.trace_hash}"
    )
    if report.violations:
        click.echo("\n".join(f"  {fault}" for fault in report.faults))
        click.echo("\n".join(f"  VIOLATION {text}" for text in report.violations[:10]))
        click.echo(f"  replay: {report.replay}")
    return bool(report.violations)


if __name__ == "__main__":
    main()
