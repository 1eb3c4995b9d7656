"""The command behind `scripts/chaos`: campaigns of faults in turn, a JSON line for each."""

from __future__ import annotations

import argparse
import asyncio
import json
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

Campaign = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
"""Of (folder, seed, times, one number for each further option); the figure that it returns holds
`violations`, in words."""
SHOWN = 5


def main(
    name: str,
    about: str | None,
    campaigns: Mapping[str, tuple[Campaign, int]],
    times: str,
    options: Mapping[str, tuple[int, str]] | None = None,
) -> int:
    """1 if anything was violated. `campaigns`: each with how many times faults usually strike.

    `times` says what that counts; `options`: further numbers, each with a default and its help.
    """
    further = options or {}
    chosen = _parse(name, about, campaigns, times, further)
    failed = False
    for each in chosen.only or campaigns:
        campaign, usual = campaigns[each]
        numbers = [getattr(chosen, option) for option in further]
        with tempfile.TemporaryDirectory(prefix="rk-chaos-") as folder:
            began_s, seed = time.monotonic(), f"{chosen.seed}/{each}"
            playing = campaign(pathlib.Path(folder), seed, chosen.times or usual, *numbers)
            figure = asyncio.run(playing)
        violations = figure.pop("violations")
        figure |= {"seed": chosen.seed, "took_s": round(time.monotonic() - began_s)}
        print(json.dumps(figure | {"violations": len(violations)}), flush=True)
        for violation in violations[:SHOWN]:
            print(violation, file=sys.stderr)
        failed = failed or bool(violations)
    return int(failed)


def _parse(
    name: str,
    about: str | None,
    campaigns: Mapping[str, tuple[Campaign, int]],
    times: str,
    further: Mapping[str, tuple[int, str]],
) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=name, description=about)
    parser.add_argument(
        "only", nargs="*", metavar="CAMPAIGN", help=f"default: {', '.join(campaigns)}"
    )
    parser.add_argument("--times", type=int, default=0, help=times)
    for option, (default, meaning) in further.items():
        parser.add_argument(f"--{option}", type=int, default=default, help=meaning)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    for each in set(chosen.only) - set(campaigns):
        parser.error(f"no campaign {each!r}; there are {', '.join(campaigns)}")
    return chosen
