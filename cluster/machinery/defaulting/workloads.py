"""Defaults of what makes pods (pkg/apis/apps/v1 and batch/v1 defaults.go)."""

from __future__ import annotations

from cluster.machinery.defaulting.pods import apply_template
from cluster.machinery.defaulting.values import Object, default, items, part

REVISION_HISTORY = 10
PROGRESS_DEADLINE_S = 600
BACKOFF_LIMIT = 6
MAX_INT32 = 2**31 - 1


def apply_deployment(obj: Object) -> None:
    """One replica, rolled a quarter at a time."""
    spec = _with_template(obj)
    default(spec, "replicas", 1)
    strategy = part(spec, "strategy")
    default(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = part(strategy, "rollingUpdate")
        default(rolling, "maxUnavailable", "25%")
        default(rolling, "maxSurge", "25%")
    default(spec, "revisionHistoryLimit", REVISION_HISTORY)
    default(spec, "progressDeadlineSeconds", PROGRESS_DEADLINE_S)


def apply_replica_set(obj: Object) -> None:
    """One replica."""
    default(_with_template(obj), "replicas", 1)


def apply_replication_controller(obj: Object) -> None:
    """One replica; labels and selector are the template's."""
    spec = part(obj, "spec")
    template = spec.get("template")
    if template is not None:
        apply_template(template)
        labels = (template.get("metadata") or {}).get("labels")
        if labels:
            if not spec.get("selector"):
                spec["selector"] = dict(labels)
            if not (obj.get("metadata") or {}).get("labels"):
                part(obj, "metadata")["labels"] = dict(labels)
    default(spec, "replicas", 1)


def apply_stateful_set(obj: Object) -> None:
    """One replica, in order, claims kept."""
    spec = _with_template(obj)
    default(spec, "podManagementPolicy", "OrderedReady")
    strategy = part(spec, "updateStrategy")
    default(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        default(part(strategy, "rollingUpdate"), "partition", 0)
    retention = part(spec, "persistentVolumeClaimRetentionPolicy")
    default(retention, "whenDeleted", "Retain")
    default(retention, "whenScaled", "Retain")
    default(spec, "replicas", 1)
    default(spec, "revisionHistoryLimit", REVISION_HISTORY)
    for claim in items(spec, "volumeClaimTemplates"):
        default(part(claim, "spec"), "volumeMode", "Filesystem")
        default(part(claim, "status"), "phase", "Pending")


def apply_daemon_set(obj: Object) -> None:
    """Rolled one node at a time."""
    spec = _with_template(obj)
    strategy = part(spec, "updateStrategy")
    default(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = part(strategy, "rollingUpdate")
        default(rolling, "maxUnavailable", 1)
        default(rolling, "maxSurge", 0)
    default(spec, "revisionHistoryLimit", REVISION_HISTORY)


def apply_job(obj: Object) -> None:
    """One completion; six retries; labels are the template's."""
    spec = _with_template(obj)
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    default(spec, "parallelism", 1)
    per_index = spec.get("backoffLimitPerIndex") is not None
    default(spec, "backoffLimit", MAX_INT32 if per_index else BACKOFF_LIMIT)
    default(spec, "completionMode", "NonIndexed")
    default(spec, "suspend", False)
    default(spec, "manualSelector", False)
    policy = spec.get("podFailurePolicy")
    default(spec, "podReplacementPolicy", "Failed" if policy else "TerminatingOrFailed")
    _failure_policy(spec)
    labels = (spec["template"].get("metadata") or {}).get("labels")
    if labels and not (obj.get("metadata") or {}).get("labels"):
        part(obj, "metadata")["labels"] = dict(labels)


def apply_cron_job(obj: Object) -> None:
    """Jobs may overlap; three successes and one failure are remembered."""
    spec = part(obj, "spec")
    default(spec, "concurrencyPolicy", "Allow")
    default(spec, "suspend", False)
    default(spec, "successfulJobsHistoryLimit", 3)
    default(spec, "failedJobsHistoryLimit", 1)
    job = part(part(spec, "jobTemplate"), "spec")
    apply_template(part(job, "template"))
    _failure_policy(job)


def _failure_policy(spec: Object) -> None:
    for rule in items(spec.get("podFailurePolicy") or {}, "rules"):
        for condition in items(rule, "onPodConditions"):
            default(condition, "status", "True")


def _with_template(obj: Object) -> Object:
    spec = part(obj, "spec")
    apply_template(part(spec, "template"))
    return spec
