"""`scripts/chaos store`: campaigns of faults against real members, one JSON line per figure.

Ends with status 1 if anything was violated. The seed decides on faults and on what disks lose.
"""

from __future__ import annotations

import sys

import uvloop

from raftstore.faults import campaigns
from raftstore.faults.program import main

CAMPAIGNS = {
    "power": (campaigns.power_cuts, 100),
    "kills": (campaigns.leader_kills, 50),
    "pauses": (campaigns.leader_pauses, 20),
    "cuts": (campaigns.leader_cuts, 20),
    "leases": (campaigns.leases, 200),
}

if __name__ == "__main__":
    uvloop.install()
    sys.exit(main("scripts/chaos store", __doc__, CAMPAIGNS, "faults (or leases) in each"))
