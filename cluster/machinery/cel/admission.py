"""What expressions in admission may refer to and call."""

from __future__ import annotations

from collections.abc import Mapping

from cluster.machinery.cel import types
from cluster.machinery.cel.functions import declare, traverse
from cluster.machinery.cel.library import KUBERNETES
from cluster.machinery.cel.types import Type

_N = "kubernetes.authorization."
USUAL: Mapping[str, Type] = {
    "object": types.DYN,
    "oldObject": types.DYN,
    "request": types.DYN,
    "authorizer": Type(f"{_N}Authorizer"),
    "authorizer.requestResource": Type(f"{_N}ResourceCheck"),
}
"""The variables of every expression."""
IN_POLICIES: Mapping[str, Type] = {"params": types.DYN, "namespaceObject": types.DYN}
"""And of those in policies."""


def _escape_key(text: str) -> str:
    return text.replace("~", "~0").replace("/", "~1")


ADMISSION = KUBERNETES.extended(
    [declare("jsonpatch.escapeKey(string): string", _escape_key, traverse())]
)
"""What expressions may call: the keys of JSON pointers have to be escaped."""
