"""The Pod Security Standards of Kubernetes 1.34: what a pod may not do at a level. Pure.

`rules` are the checks of `baseline` and `restricted`, `evaluation` picks those of a level and
version and words what they find; `policy` reads the labels of a namespace.
"""

from cluster.machinery.podsecurity.evaluation import violations
from cluster.machinery.podsecurity.policy import Level, Policy, problems, read

__all__ = ["Level", "Policy", "problems", "read", "violations"]
