"""`scripts/chaos store`: campaigns of faults against real members, one JSON line per figure.

Ends with status 1 if anything was violated. The seed decides on faults and on what disks lose.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pathlib
import sys
import tempfile
import time

import uvloop

from raftstore.faults import campaigns

CAMPAIGNS = {
    "power": (campaigns.power_cuts, 100),
    "kills": (campaigns.leader_kills, 50),
    "pauses": (campaigns.leader_pauses, 20),
    "cuts": (campaigns.leader_cuts, 20),
    "leases": (campaigns.leases, 200),
}
SHOWN = 5


def main() -> int:
    options = _parse()
    failed = False
    for name in options.only or CAMPAIGNS:
        campaign, usual = CAMPAIGNS[name]
        times = options.times or usual
        with tempfile.TemporaryDirectory(prefix="rk-chaos-") as folder:
            began_s = time.monotonic()
            figure = asyncio.run(campaign(pathlib.Path(folder), f"{options.seed}/{name}", times))
        violations = figure.pop("violations")
        figure |= {"seed": options.seed, "took_s": round(time.monotonic() - began_s)}
        print(json.dumps(figure | {"violations": len(violations)}), flush=True)
        for violation in violations[:SHOWN]:
            print(violation, file=sys.stderr)
        failed = failed or bool(violations)
    return int(failed)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/chaos store", description=__doc__)
    parser.add_argument(
        "only", nargs="*", metavar="CAMPAIGN", help=f"default: {', '.join(CAMPAIGNS)}"
    )
    parser.add_argument("--times", type=int, default=0, help="faults (or leases) in each")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for name in set(options.only) - set(CAMPAIGNS):
        parser.error(f"no campaign {name!r}; there are {', '.join(CAMPAIGNS)}")
    return options


if __name__ == "__main__":
    uvloop.install()
    sys.exit(main())
