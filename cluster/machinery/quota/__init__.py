"""Resource quotas: what an object counts for, and which quotas count it. Pure.

Amounts are ints of nano units (`machinery.quantity`) by the name that a quota gives them
("requests.cpu", "count/deployments.apps").
"""

from cluster.machinery.quota.limited import Limited, uncovered
from cluster.machinery.quota.scopes import counts
from cluster.machinery.quota.usage import of, unspecified

__all__ = ["Limited", "counts", "of", "uncovered", "unspecified"]
