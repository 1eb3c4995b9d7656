"""Extension points, profiles and the scheduling cycle.

A plugin is asked about all nodes at once: it gets a `View` of the columns and answers with masks
and scores. Belongs here: what holds whatever the plugins are. Does not: any one plugin, I/O.
"""

from cluster.scheduler.framework.plugin import (
    MAX_SCORE,
    FilterPlugin,
    Only,
    Plugin,
    PreFilterPlugin,
    Refused,
    Rejection,
    Scope,
    ScorePlugin,
    Scores,
    normalized,
)

__all__ = [
    "MAX_SCORE",
    "FilterPlugin",
    "Only",
    "Plugin",
    "PreFilterPlugin",
    "Refused",
    "Rejection",
    "Scope",
    "ScorePlugin",
    "Scores",
    "normalized",
]
