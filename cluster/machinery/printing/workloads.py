"""Rows of what makes pods."""

from __future__ import annotations

from typing import Any

from cluster.machinery import meta
from cluster.machinery.printing.columns import (
    AGE,
    NAME,
    NONE,
    Cells,
    Column,
    Printer,
    label_selector,
    labels,
)
from cluster.machinery.printing.duration import age, human, since

TEMPLATE_COLUMNS = (
    Column("Containers", wide=True),
    Column("Images", wide=True),
    Column("Selector", wide=True),
)


def _images(template: dict[str, Any] | None) -> Cells:
    """The names of the containers, and their images."""
    containers = ((template or {}).get("spec") or {}).get("containers") or []
    return [
        ",".join(container["name"] for container in containers),
        ",".join(container.get("image", "") for container in containers),
    ]


def _template_cells(spec: dict[str, Any]) -> Cells:
    return [*_images(spec.get("template")), label_selector(spec.get("selector"))]


def _deployment(obj: meta.Object, now_s: float) -> Cells:
    spec, status = obj["spec"], obj.get("status", {})
    return [
        obj["metadata"]["name"],
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age(obj, now_s),
        *_template_cells(spec),
    ]


def _replica_set(obj: meta.Object, now_s: float) -> Cells:
    spec, status = obj["spec"], obj.get("status", {})
    return [
        obj["metadata"]["name"],
        spec.get("replicas", 1),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age(obj, now_s),
        *_template_cells(spec),
    ]


def _replication_controller(obj: meta.Object, now_s: float) -> Cells:
    row = _replica_set({**obj, "spec": {**obj["spec"], "selector": None}}, now_s)
    return [*row[:-1], labels(obj["spec"].get("selector"))]


def _daemon_set(obj: meta.Object, now_s: float) -> Cells:
    spec, status = obj["spec"], obj.get("status", {})
    pod = (spec.get("template") or {}).get("spec") or {}
    return [
        obj["metadata"]["name"],
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        labels(pod.get("nodeSelector")),
        age(obj, now_s),
        *_template_cells(spec),
    ]


def _stateful_set(obj: meta.Object, now_s: float) -> Cells:
    spec, status = obj["spec"], obj.get("status", {})
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}"
    return [obj["metadata"]["name"], ready, age(obj, now_s), *_images(spec.get("template"))]


def _job(obj: meta.Object, now_s: float) -> Cells:
    spec = obj["spec"]
    return [
        obj["metadata"]["name"],
        _job_status(obj),
        _completions(spec, obj.get("status", {})),
        _job_duration(obj.get("status", {}), now_s),
        age(obj, now_s),
        *_template_cells(spec),
    ]


_JOB_STATES = (
    ("Complete", "Complete"),
    ("Failed", "Failed"),
    ("Suspended", "Suspended"),
    ("FailureTarget", "FailureTarget"),
    ("SuccessCriteriaMet", "SuccessCriteriaMet"),
)


def _job_status(obj: meta.Object) -> str:
    for condition, word in _JOB_STATES:
        if meta.condition_is(obj, condition):
            return word
    return "Terminating" if obj["metadata"].get("deletionTimestamp") else "Running"


def _completions(spec: dict[str, Any], status: dict[str, Any]) -> str:
    succeeded = status.get("succeeded", 0)
    if spec.get("completions") is not None:
        return f"{succeeded}/{spec['completions']}"
    parallelism = spec.get("parallelism", 0)
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _job_duration(status: dict[str, Any], now_s: float) -> str:
    if not status.get("startTime"):
        return ""
    started_s = meta.parse_time(status["startTime"])
    ended = status.get("completionTime")
    return human((meta.parse_time(ended) if ended else now_s) - started_s)


def _cron_job(obj: meta.Object, now_s: float) -> Cells:
    spec, status = obj["spec"], obj.get("status", {})
    last = status.get("lastScheduleTime")
    return [
        obj["metadata"]["name"],
        spec.get("schedule", ""),
        spec.get("timeZone") or NONE,
        str(bool(spec.get("suspend"))),
        len(status.get("active") or []),
        since(last, now_s) if last else NONE,
        age(obj, now_s),
        *_template_cells((spec.get("jobTemplate") or {}).get("spec") or {}),
    ]


def _pod_template(obj: meta.Object, now_s: float) -> Cells:
    template = obj.get("template") or {}
    pod_labels = labels((template.get("metadata") or {}).get("labels"))
    return [obj["metadata"]["name"], *_images(template), pod_labels]


def _controller_revision(obj: meta.Object, now_s: float) -> Cells:
    owner = meta.controller_of(obj)
    name = NONE
    if owner:
        group, _ = meta.group_version(owner["apiVersion"])
        kind = owner["kind"].lower()
        name = f"{kind}.{group}/{owner['name']}" if group else f"{kind}/{owner['name']}"
    return [obj["metadata"]["name"], name, obj.get("revision", 0), age(obj, now_s)]


def _scale(obj: meta.Object, now_s: float) -> Cells:
    wanted = (obj.get("spec") or {}).get("replicas", 0)
    return [
        obj["metadata"]["name"],
        wanted,
        (obj.get("status") or {}).get("replicas", 0),
        age(obj, now_s),
    ]


SCALE = Printer((NAME, Column("Desired", "integer"), Column("Available", "integer"), AGE), _scale)
"""Rows of `/scale`, whatever is scaled."""

PRINTERS = {
    "deployments.apps": Printer(
        (NAME, Column("Ready"), Column("Up-to-date", "integer"), Column("Available", "integer"),
         AGE, *TEMPLATE_COLUMNS), _deployment),
    "replicasets.apps": Printer(
        (NAME, Column("Desired", "integer"), Column("Current", "integer"),
         Column("Ready", "integer"), AGE, *TEMPLATE_COLUMNS), _replica_set),
    "replicationcontrollers": Printer(
        (NAME, Column("Desired", "integer"), Column("Current", "integer"),
         Column("Ready", "integer"), AGE, *TEMPLATE_COLUMNS), _replication_controller),
    "daemonsets.apps": Printer(
        (NAME, Column("Desired", "integer"), Column("Current", "integer"),
         Column("Ready", "integer"), Column("Up-to-date", "integer"),
         Column("Available", "integer"), Column("Node Selector"), AGE, *TEMPLATE_COLUMNS),
        _daemon_set),
    "statefulsets.apps": Printer(
        (NAME, Column("Ready"), AGE, *TEMPLATE_COLUMNS[:2]), _stateful_set),
    "jobs.batch": Printer(
        (NAME, Column("Status"), Column("Completions"), Column("Duration"), AGE,
         *TEMPLATE_COLUMNS), _job),
    "cronjobs.batch": Printer(
        (NAME, Column("Schedule"), Column("Timezone"), Column("Suspend", "boolean"),
         Column("Active", "integer"), Column("Last Schedule"), AGE, *TEMPLATE_COLUMNS),
        _cron_job),
    "podtemplates": Printer(
        (NAME, Column("Containers"), Column("Images"), Column("Pod Labels")), _pod_template),
    "controllerrevisions.apps": Printer(
        (NAME, Column("Controller"), Column("Revision", "integer"), AGE), _controller_revision),
}  # fmt: skip
