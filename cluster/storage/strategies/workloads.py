"""What makes pods: generation counts changes of spec; a job's selector follows from its uid."""

from __future__ import annotations

from cluster.storage.encoding import Object
from cluster.storage.strategies.base import Strategy

UID_LABELS = ("controller-uid", "batch.kubernetes.io/controller-uid")
NAME_LABELS = ("job-name", "batch.kubernetes.io/job-name")


class WorkloadStrategy(Strategy):
    has_status = True
    counts_generation = True


class ReplicaStrategy(WorkloadStrategy):
    """Replica sets and replication controllers."""

    selectable = ("status.replicas",)


class DeploymentStrategy(WorkloadStrategy):
    def observed(self, obj: Object) -> object:
        """Upstream counts changes of annotations too (deployment strategy)."""
        return obj.get("spec"), obj["metadata"].get("annotations") or {}


class JobStrategy(WorkloadStrategy):
    selectable = ("status.successful",)

    def prepare_create(self, obj: Object) -> None:
        """Unless the selector is the client's own, it selects by the job's uid alone."""
        super().prepare_create(obj)
        spec = obj["spec"]
        if spec.get("manualSelector"):
            return
        metadata = spec["template"].setdefault("metadata", {})
        labels = dict(metadata.get("labels") or {})
        labels |= dict.fromkeys(UID_LABELS, obj["metadata"]["uid"])
        labels |= dict.fromkeys(NAME_LABELS, obj["metadata"].get("name", ""))
        metadata["labels"] = labels
        if not obj["metadata"].get("labels"):  # a job without labels shows those of its pods
            obj["metadata"]["labels"] = dict(labels)
        selector = dict(spec.get("selector") or {})
        own = {UID_LABELS[1]: obj["metadata"]["uid"]}
        spec["selector"] = selector | {"matchLabels": selector.get("matchLabels", {}) | own}


class PodTemplateStrategy(Strategy):
    counts_generation = True
    returns_deleted = True

    def observed(self, obj: Object) -> object:
        return obj.get("template")
