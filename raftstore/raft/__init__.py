"""Replication: the rules of Raft, PySyncObj made to keep them, the log on disk and the links.

Belongs here: consensus rules (pure), `SafeSyncObj`, write-ahead log, snapshots, transport.
Does not belong here: what the replicated commands mean (`mvcc`) or who asks for them (`member`).
"""
