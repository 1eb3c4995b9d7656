"""How objects are kept: keys and bytes in the store, registries per resource, the watch cache.

Belongs here: what a write must check and change, revisions, deletion, allocation, lists and
watches. Does not: HTTP, users, media types (`cluster.apiserver`), the rules of a kind's fields
(`cluster.machinery`).
"""
