"""The functions: those of the language, and those that Kubernetes adds.

Belongs here: one module a library, each a list of declarations. What they do is pure.
"""

from cluster.machinery.cel.functions import Library
from cluster.machinery.cel.library import (
    authorizer,
    cidrs,
    collections,
    conversions,
    names,
    operators,
    optionals,
    quantities,
    regexes,
    strings,
    texts,
    times,
    urls,
    versions,
)

KUBERNETES = Library(
    [
        *operators.OVERLOADS,
        *conversions.OVERLOADS,
        *texts.OVERLOADS,
        *times.OVERLOADS,
        *optionals.OVERLOADS,
        *collections.OVERLOADS,
        *strings.OVERLOADS,
        *regexes.OVERLOADS,
        *urls.OVERLOADS,
        *quantities.OVERLOADS,
        *cidrs.OVERLOADS,
        *names.OVERLOADS,
        *versions.OVERLOADS,
        *authorizer.OVERLOADS,
    ]
)
"""Everything that expressions in Kubernetes 1.34 may call."""

__all__ = ["KUBERNETES"]
