"""`python -m cluster.simulation controllers [SEEDS]`; see docs/simulation.md."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial

import click

from cluster.simulation import scheduling
from cluster.simulation.planted import PLANTED
from cluster.simulation.planted import planted as plant
from cluster.simulation.run import Report, run_seed


@click.group()
def main() -> None:
    """Deterministic simulation of whole control planes."""


@main.command()
@click.argument("seeds", default="1..20")
@click.option("--workers", default=1, show_default=True)
@click.option("--verbose", is_flag=True, help="tell faults and what users did, too")
@click.option("--bug", default="", help="plant this bug")
def controllers(seeds: str, workers: int, verbose: bool, bug: str) -> None:
    """Run SEEDS (A..B or one); one JSON line for each, status 1 if a promise was broken."""
    first, _, last = seeds.partition("..")
    numbers = range(int(first), int(last or first) + 1)
    with ProcessPoolExecutor(workers) as pool:
        reports = pool.map(partial(run_with, bug), numbers)
        failed = sum(_tell(report, verbose) for report in reports)
    click.echo(json.dumps({"seeds": len(numbers), "failed": failed}))
    sys.exit(1 if failed else 0)


@main.command()
@click.argument("seeds", default="1..20")
@click.option("--workers", default=1, show_default=True)
def scheduler(seeds: str, workers: int) -> None:
    """Run SEEDS of schedulers that compete; one JSON line for each, status 1 for a violation."""
    first, _, last = seeds.partition("..")
    numbers = range(int(first), int(last or first) + 1)
    failed = bindings = 0
    with ProcessPoolExecutor(workers) as pool:
        for report in pool.map(scheduling.run_seed, numbers):
            line = {"seed": report.seed, "violations": report.violations}
            line |= {"bindings": report.bindings, "faults": len(report.faults)}
            click.echo(json.dumps(line | {"trace": report.trace_hash, "replay": report.replay}))
            failed += bool(report.violations)
            bindings += report.bindings
    click.echo(json.dumps({"seeds": len(numbers), "bindings": bindings, "failed": failed}))
    sys.exit(1 if failed else 0)


@main.command("controllers-planted")
@click.option("--seeds", default=60, show_default=True, help="how many to try for each bug")
@click.option("--only", default="", help="a part of the names of the bugs to plant")
@click.option("--workers", default=1, show_default=True)
def controllers_planted(seeds: int, only: str, workers: int) -> None:
    """Plant bugs, one at a time; one JSON line for each, status 1 if one is not found."""
    names = [name for name in PLANTED if only in name]
    with ProcessPoolExecutor(workers) as pool:
        found = sum(map(_tell_found, names, pool.map(partial(find, seeds), names)))
    click.echo(json.dumps({"bugs": len(names), "found": found}))
    sys.exit(0 if names and found == len(names) else 1)


def run_with(bug: str, seed: int) -> Report:
    with plant(bug) if bug else nullcontext():
        return run_seed(seed)


def find(seeds: int, bug: str) -> Report | None:
    """The first seed that shows a planted bug."""
    reports = (run_with(bug, seed) for seed in range(1, seeds + 1))
    return next((report for report in reports if report.violations), None)


def _tell_found(name: str, report: Report | None) -> bool:
    line = {"bug": name, "seed": report.seed if report else None}
    if report is not None:
        line |= {"shown": report.violations[0][:200], "replay": f"{report.replay} --bug '{name}'"}
    click.echo(json.dumps(line))
    return report is not None


def _tell(report: Report, verbose: bool) -> bool:
    line = {
        "seed": report.seed, "violations": report.violations, "revisions": report.revisions,
        "faults": len(report.faults), "actions": len(report.actions),
        "settled_s": round(report.settled_s, 1), "trace": report.trace_hash,
        "replay": report.replay,
    }  # fmt: skip
    click.echo(json.dumps(line))
    if verbose:
        click.echo("\n".join([*map(str, report.faults), *report.actions]))
    return bool(report.violations)


if __name__ == "__main__":
    main()
