"""CustomResourceDefinitions as values: names, rules of the definition, and what follows from it.

Belongs here: pure functions from a definition to resources, kinds, columns, conditions, and the
messages of conversion webhooks. Does not: schemas (`cluster.machinery.structural`), serving and
the writing of conditions (`cluster.apiserver.definitions`).
"""
