"""Server-side apply and field management: who set which field, and what may change it.

Belongs here: sets of fields, their extraction, comparison and merging by a schema, and the
managedFields of every kind of write. Does not: HTTP, defaulting, validation, storing. The rules
are those of upstream's structured-merge-diff and fieldmanager packages (KEP-555).

A set of fields is a tree in the form of fieldsV1 itself (`sets`), so what is stored needs no
decoding: the trees of an object come out of its JSON.
"""

from __future__ import annotations

from cluster.machinery.apply.builtin import BUILTIN
from cluster.machinery.apply.manager import ApplyConflict, Writer, applied, last_applied, tracked
from cluster.machinery.apply.managers import settle
from cluster.machinery.apply.schema import Versions

__all__ = [
    "BUILTIN",
    "ApplyConflict",
    "Versions",
    "Writer",
    "applied",
    "last_applied",
    "settle",
    "tracked",
]
