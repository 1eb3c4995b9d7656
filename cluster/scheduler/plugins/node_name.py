"""NodeName: a pod that already names its node fits there only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cluster.scheduler.columns import Columns
from cluster.scheduler.framework import Rejection
from cluster.scheduler.requests import PodRequest


class NodeName:
    name = "NodeName"
    resolvable = False

    def reject(self, columns: Columns, pod: PodRequest) -> Sequence[Rejection]:
        wanted = pod.spec.get("nodeName")
        if not wanted:
            return ()
        others = np.ones(len(columns), np.bool_)
        if wanted in columns.rows:
            others[columns.rows[wanted]] = False
        return [Rejection(others, "node(s) didn't match the requested node name")]
