"""What writing each resource means: which parts a write may change, and what it fills in.

Belongs here: one strategy per resource that differs from the base. Does not: the rules of
fields (`cluster.machinery.validation`) and the act of writing (`cluster.storage.registry`).
"""
