"""Backups of the store in the form of etcd's, so that either can be restored into the other.

Belongs here: what etcd 3.4 keeps in the buckets of its bbolt database and how that becomes our
records, saving a backup of a member, making data folders from one. How bbolt lays out a file is
`raftstore.bolt`'s business.
"""
