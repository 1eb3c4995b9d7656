"""`scripts/chaos api`: three API servers over one store, broken under load; a JSON line a campaign.

Ends with status 1 if anything was violated. The seed decides on faults and on what is asked.
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

from cluster.faults.servers import campaigns

CAMPAIGNS = {
    "kills": (campaigns.kills, 40),
    "pauses": (campaigns.pauses, 20),
    "restarts": (campaigns.restarts, 30),
    "mixed": (campaigns.mixed, 20),
}
SHOWN = 5


def main() -> int:
    options = _parse()
    failed = False
    for name in options.only or CAMPAIGNS:
        campaign, usual = CAMPAIGNS[name]
        with tempfile.TemporaryDirectory(prefix="rk-chaos-") as folder:
            began_s, seed = time.monotonic(), f"{options.seed}/{name}"
            playing = campaign(pathlib.Path(folder), seed, options.times or usual, options.members)
            figure = asyncio.run(playing)
        violations = figure.pop("violations")
        figure |= {"seed": options.seed, "took_s": round(time.monotonic() - began_s)}
        print(json.dumps(figure | {"violations": len(violations)}), flush=True)
        for violation in violations[:SHOWN]:
            print(violation, file=sys.stderr)
        failed = failed or bool(violations)
    return int(failed)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/chaos api", description=__doc__)
    parser.add_argument(
        "only", nargs="*", metavar="CAMPAIGN", help=f"default: {', '.join(CAMPAIGNS)}"
    )
    parser.add_argument("--times", type=int, default=0, help="faults in each")
    parser.add_argument("--members", type=int, default=3, help="of the store")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for name in set(options.only) - set(CAMPAIGNS):
        parser.error(f"no campaign {name!r}; there are {', '.join(CAMPAIGNS)}")
    return options


if __name__ == "__main__":
    uvloop.install()
    sys.exit(main())
