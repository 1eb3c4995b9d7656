"""The etcd role: a replicated, revisioned key-value store with watches and leases.

Belongs here: consensus (`raft`, the only place that knows PySyncObj), multi-version state
(`mvcc`, pure), the member that serves clients, and the client. Does not belong here: anything
that knows what Kubernetes is, or how members are placed and supervised.
"""
