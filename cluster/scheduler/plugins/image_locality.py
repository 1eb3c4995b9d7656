"""ImageLocality: nodes that have the pod's images already rank higher."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cluster.scheduler.columns import Columns, Mask, View
from cluster.scheduler.framework import MAX_SCORE, ScorePlugin, Scores
from cluster.scheduler.model.pod_info import PodInfo

MIN_BYTES = 23 * 1024 * 1024
MAX_BYTES_PER_CONTAINER = 1000 * 1024 * 1024


class ImageLocality(ScorePlugin):
    name = "ImageLocality"

    def scores(self, pod: PodInfo, columns: Columns) -> bool:
        return any(image in columns.images for image in _images(pod))

    def score(self, view: View, pod: PodInfo, feasible: Mask) -> Scores:
        """An image counts less the fewer nodes have it, so that not all pods go to those."""
        total = np.zeros(len(view.columns), np.int64)
        images = [*_images(pod)]
        for image in images:
            if nodes := view.columns.images.get(image):
                share = len(nodes) / len(view.columns)
                for name, size in nodes.items():
                    total[view.columns.rows[name]] += int(size * share)
        most = MAX_BYTES_PER_CONTAINER * len(images)
        if most <= MIN_BYTES:
            return np.zeros(len(view), np.int64)
        scaled: Scores = MAX_SCORE * (np.clip(total, MIN_BYTES, most) - MIN_BYTES)
        return view.take(scaled // (most - MIN_BYTES))


def _images(pod: PodInfo) -> Iterable[str]:
    """With a tag: the name of an image without one means its latest."""
    spec = pod.spec
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        name = container.get("image") or ""
        bare = name.rfind(":") <= name.rfind("/")
        yield f"{name}:latest" if bare else name
