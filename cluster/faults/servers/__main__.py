"""`scripts/chaos api`: three API servers over one store, broken under load; a JSON line a campaign.

Ends with status 1 if anything was violated. The seed decides on faults and on what is asked.
"""

from __future__ import annotations

import sys

import uvloop

from cluster.faults.servers import campaigns
from raftstore.faults.program import main

CAMPAIGNS = {
    "kills": (campaigns.kills, 40),
    "pauses": (campaigns.pauses, 20),
    "restarts": (campaigns.restarts, 30),
    "mixed": (campaigns.mixed, 20),
}

if __name__ == "__main__":
    uvloop.install()
    members = {"members": (3, "of the store")}
    sys.exit(main("scripts/chaos api", __doc__, CAMPAIGNS, "faults in each", members))
