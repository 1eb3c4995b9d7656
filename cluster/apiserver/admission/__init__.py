"""Admission: a short, ordered list of functions between decoding a write and storing it.

Belongs here: what the cluster adds to an object or forbids, whatever its kind's own rules say.
Does not: field rules (`cluster.machinery.validation`). The existence of the namespace is checked
inside the storing transaction (`cluster.storage.namespace_guard`).
"""
