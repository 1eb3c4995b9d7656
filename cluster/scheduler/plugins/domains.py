"""Sums over topology domains (zones, hosts): nodes that have the same value of a label. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cluster.scheduler.columns import Numbers

Domain = NDArray[np.int32]
"""Per node the number of its domain; 0: it is in none."""


def per_domain(domain: Domain, counts: Numbers) -> Numbers:
    """Sum of `counts` by number of domain. Entry 0, of nodes that are in none, is 0."""
    nodes = np.flatnonzero(counts)
    sums = np.bincount(domain[nodes], weights=counts[nodes], minlength=_size(domain))
    result: Numbers = sums.astype(np.int64)
    result[0] = 0
    return result


def present(domain: Domain, nodes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """By number of domain, whether one of the nodes is in it."""
    result = np.zeros(_size(domain), np.bool_)
    result[domain[nodes]] = True
    result[0] = False
    return result


def spread_out(sums: Numbers, domain: Domain) -> Numbers:
    """From something by domain back to the same by node."""
    return sums[domain]


def _size(domain: Domain) -> int:
    return int(domain.max(initial=0)) + 1
