"""Members of a store as real processes (see `raftstore.faults.processes`)."""

from raftstore.faults.processes import StoreProcesses, free_addresses

__all__ = ["StoreProcesses", "free_addresses"]
