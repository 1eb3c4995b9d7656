"""Structural schemas: what describes the objects of a CustomResourceDefinition.

Belongs here: the parsed schema, whether it is structural, and what it does to objects (pruning,
defaulting, validation, rules). Does not: the definition's other parts
(`cluster.machinery.customresources`), the rules' language (`cluster.machinery.cel`).
"""

from cluster.machinery.structural.schema import Structural, parse

__all__ = ["Structural", "parse"]
