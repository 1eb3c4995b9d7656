"""A cluster over several hosts with thousands of simulated nodes on each.

usage: scripts/stress [--hosts 2] [OPTION of scripts/bench nodes...]

The hosts are network namespaces of this machine (root is needed) with a raylet each; the parts of
the cluster, and a fleet of simulated nodes per host, are spread over them. What is measured there
is what `scripts/bench nodes` measures.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys

from hosts import Hosts


def main() -> int:
    parser = argparse.ArgumentParser(usage=(__doc__ or "").partition("usage: ")[2])
    parser.add_argument("--hosts", type=int, default=2)
    own, others = parser.parse_known_args()
    if os.geteuid() != 0:
        parser.error("root is needed to make network namespaces")
    bench = pathlib.Path(__file__).with_name("bench_nodes.py")
    with Hosts(own.hosts) as hosts:
        fleets = ["--fleets", str(own.hosts), "--ray-address", hosts.ray_address]
        return hosts.run(1, [sys.executable, str(bench), "simulated", *fleets, *others])


if __name__ == "__main__":
    sys.exit(main())
