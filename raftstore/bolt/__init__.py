"""Files of bbolt, the database that etcd keeps its state in: read with checks, written whole.

Belongs here: pages, trees of pages, buckets. Does not belong here: what etcd puts in its buckets
(`raftstore.backup`), and changing a file in place, which nobody needs.
"""
