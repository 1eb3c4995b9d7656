"""Multi-version state, as pure data structures: the same commands give the same state anywhere.

Belongs here: revisions, key histories, transactions, leases' attachments, client sessions and
the state machine that combines them. Does not belong here: time, randomness, sockets, files.
"""
