"""`python -m raftstore.simulation store --seeds A..B [--members 3|5] [--workers N]`."""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import click

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


def _tell(report: Report) -> bool:
    click.echo(
        f"seed {report.seed}: {report.answered} of {report.calls} calls answered, "
        f"{report.revisions} revisions, trace {report.trace_hash}"
    )
    if report.violations:
        click.echo("\n".join(f"  {fault}" for fault in report.faults))
        click.echo("\n".join(f"  VIOLATION {text}" for text in report.violations[:10]))
        click.echo(f"  replay: scripts/simulate store --seeds {report.seed}")
    return bool(report.violations)


if __name__ == "__main__":
    main()
