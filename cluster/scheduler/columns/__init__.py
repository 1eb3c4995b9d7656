"""Nodes and their pods as numpy columns, kept up to date event by event.

Belongs here: what is true of the cluster, laid out so that a question is asked of all nodes at
once. Does not belong here: what any plugin makes of it.
"""

from cluster.scheduler.columns.columns import Columns
from cluster.scheduler.columns.hypothetical import Hypothetical
from cluster.scheduler.columns.table import Mask, Numbers
from cluster.scheduler.columns.view import View

__all__ = ["Columns", "Hypothetical", "Mask", "Numbers", "View"]
