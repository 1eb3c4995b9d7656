"""Jobs and cron jobs."""

from __future__ import annotations

import zoneinfo
from typing import Any

from cluster.machinery import cron
from cluster.machinery import selectors as matching
from cluster.machinery.validation import metadata, selectors, templates
from cluster.machinery.validation.field import Errors, Object

MAX_INDEXED = 100_000
MAX_RULES = 20
MAX_EXIT_CODES = 255
_COUNTS = ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit",
           "ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes")  # fmt: skip
_MODES = ("Indexed", "NonIndexed")
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_REPLACEMENT = ("Failed", "TerminatingOrFailed")


def _spec(obj: Object) -> Object:
    return obj.get("spec") or {}


def validate_job(obj: Object, errors: Errors) -> None:
    """Numbers, policies, the template, and the selector that finds its pods."""
    spec = _spec(obj)
    _job_spec(spec, "spec", errors)
    selector = spec.get("selector")
    if selector is None:
        errors.required("spec.selector")
        return
    before = len(errors)
    selectors.validate(selector, "spec.selector", errors)
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if len(errors) == before and not matching.from_object(selector).matches(labels):
        errors.invalid("spec.template.metadata.labels", labels,
                       "`selector` does not match template `labels`")  # fmt: skip


def _job_spec(spec: Object, path: str, errors: Errors) -> None:
    for name in _COUNTS:
        errors.not_negative(f"{path}.{name}", spec.get(name))
    _indexes(spec, path, errors)
    if spec.get("podFailurePolicy") is not None:
        _failure_policy(spec, path, errors)
    if spec.get("successPolicy") is not None:
        _success_policy(spec, f"{path}.successPolicy", errors)
    allowed = _REPLACEMENT[:1] if spec.get("podFailurePolicy") else _REPLACEMENT
    policy = spec.get("podReplacementPolicy")
    if policy is not None and policy not in allowed:
        errors.not_supported(f"{path}.podReplacementPolicy", policy, allowed)
    pod = templates.validate(spec, errors, path)
    restart = pod.get("restartPolicy")
    if restart in (None, "", "Always"):
        detail = 'valid values: "OnFailure", "Never"'
        errors.required(f"{path}.template.spec.restartPolicy", detail)
    elif restart not in ("OnFailure", "Never"):
        errors.not_supported(f"{path}.template.spec.restartPolicy", restart, ("OnFailure", "Never"))


def _indexes(spec: Object, path: str, errors: Errors) -> None:
    mode = spec.get("completionMode")
    if mode is not None and mode not in _MODES:
        errors.not_supported(f"{path}.completionMode", mode, _MODES)
    if mode == "Indexed":
        if spec.get("completions") is None:
            errors.required(f"{path}.completions", "when completion mode is Indexed")
        if (spec.get("parallelism") or 0) > MAX_INDEXED:
            detail = f"must be less than or equal to {MAX_INDEXED} when completion mode is Indexed"
            errors.invalid(f"{path}.parallelism", spec["parallelism"], detail)
    else:
        for name in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(name) is not None:
                errors.invalid(f"{path}.{name}", spec[name], "requires indexed completion mode")
    failed, most = spec.get("maxFailedIndexes"), spec.get("completions")
    if failed is not None and spec.get("backoffLimitPerIndex") is None:
        errors.required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
    if failed is not None and most is not None and failed > most:
        detail = "must be less than or equal to completions"
        errors.invalid(f"{path}.maxFailedIndexes", failed, detail)


def _failure_policy(spec: Object, path: str, errors: Errors) -> None:
    pod = (spec.get("template") or {}).get("spec") or {}
    if pod.get("restartPolicy") != "Never":
        detail = 'only "Never" is supported when podFailurePolicy is specified'
        errors.invalid(f"{path}.template.spec.restartPolicy", pod.get("restartPolicy"), detail)
    names = {
        c.get("name") for part in ("containers", "initContainers") for c in pod.get(part) or ()
    }
    rules = spec["podFailurePolicy"].get("rules") or []
    if len(rules) > MAX_RULES:
        errors.too_many(f"{path}.podFailurePolicy.rules", len(rules), MAX_RULES)
    for at, rule in enumerate(rules):
        place = f"{path}.podFailurePolicy.rules[{at}]"
        errors.one_of(f"{place}.action", rule.get("action"), _ACTIONS)
        if rule.get("action") == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
            errors.invalid(f"{place}.action", "FailIndex",
                           "requires the backoffLimitPerIndex to be set")  # fmt: skip
        _failure_rule(rule, place, names, errors)


def _failure_rule(rule: Object, path: str, names: set[Any], errors: Errors) -> None:
    codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or []
    if codes and conditions:
        text = "specifying both OnExitCodes and OnPodConditions is not supported"
        errors.invalid(path, rule, text)
    elif not codes and not conditions:
        text = "specifying one of OnExitCodes and OnPodConditions is required"
        errors.invalid(path, rule, text)
    if codes:
        _exit_codes(codes, f"{path}.onExitCodes", names, errors)
    for at, condition in enumerate(conditions):
        place = f"{path}.onPodConditions[{at}]"
        if not condition.get("type"):
            errors.required(f"{place}.type")
        errors.one_of(f"{place}.status", condition.get("status"), ("False", "True", "Unknown"))


def _exit_codes(codes: Object, path: str, names: set[Any], errors: Errors) -> None:
    errors.one_of(f"{path}.operator", codes.get("operator"), ("In", "NotIn"))
    name = codes.get("containerName")
    if name is not None and name not in names:
        detail = "must be one of the container or initContainer names in the pod template"
        errors.invalid(f"{path}.containerName", name, detail)
    values = codes.get("values") or []
    if not values:
        errors.invalid(f"{path}.values", values, "at least one value is required")
    if len(values) > MAX_EXIT_CODES:
        errors.too_many(f"{path}.values", len(values), MAX_EXIT_CODES)
    for at, value in enumerate(values):
        if value == 0 and codes.get("operator") == "In":
            errors.invalid(f"{path}.values[{at}]", value, "must not be 0 for the In operator")
        if value in values[:at]:
            errors.duplicate(f"{path}.values[{at}]", value)
    if values != sorted(values):
        errors.invalid(f"{path}.values", values, "must be ordered")


def _success_policy(spec: Object, path: str, errors: Errors) -> None:
    if spec.get("completionMode") != "Indexed":
        errors.invalid(path, spec["successPolicy"], "requires indexed completion mode")
    rules = spec["successPolicy"].get("rules") or []
    if not rules:
        detail = "at least one rules must be specified when the successPolicy is specified"
        errors.required(f"{path}.rules", detail)
    if len(rules) > MAX_RULES:
        errors.too_many(f"{path}.rules", len(rules), MAX_RULES)
    for at, rule in enumerate(rules):
        place = f"{path}.rules[{at}]"
        if rule.get("succeededCount") is None and rule.get("succeededIndexes") is None:
            errors.required(place, "at least one of succeededCount or succeededIndexes must be "
                                   "specified")  # fmt: skip
        errors.not_negative(f"{place}.succeededCount", rule.get("succeededCount"))


def validate_cron_job(obj: Object, errors: Errors) -> None:
    """Schedule, zone, policy and the jobs' template."""
    spec = _spec(obj)
    _schedule(spec, errors)
    policies = ("Allow", "Forbid", "Replace")
    errors.one_of("spec.concurrencyPolicy", spec.get("concurrencyPolicy"), policies)
    for name in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        errors.not_negative(f"spec.{name}", spec.get(name))
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    _job_spec(job, "spec.jobTemplate.spec", errors)
    if job.get("manualSelector"):
        errors.not_supported("spec.jobTemplate.spec.manualSelector", True, ("nil", "false"))
    if job.get("selector") is not None:
        errors.invalid("spec.jobTemplate.spec.selector", job["selector"],
                       "`selector` will be auto-generated")  # fmt: skip


def _schedule(spec: Object, errors: Errors) -> None:
    schedule, zone = spec.get("schedule"), spec.get("timeZone")
    if not schedule:
        errors.required("spec.schedule")
    elif "TZ" in schedule:
        detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        if zone is not None:
            detail = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        errors.invalid("spec.schedule", schedule, detail)
    else:
        try:
            cron.parse(schedule)
        except ValueError as error:
            errors.invalid("spec.schedule", schedule, str(error))
    if zone is not None:
        _zone(zone, errors)


def _zone(zone: str, errors: Errors) -> None:
    if not zone:
        errors.invalid("spec.timeZone", zone, "timeZone must be nil or non-empty string")
    elif zone.lower() == "local":
        detail = (
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        )
        errors.invalid("spec.timeZone", zone, detail)
    else:
        try:
            zoneinfo.ZoneInfo(zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            errors.invalid("spec.timeZone", zone, f"unknown time zone {zone}")


_FIXED = ("selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy",
          "successPolicy", "manualSelector")  # fmt: skip
_DIRECTIVES = ("nodeSelector", "tolerations", "affinity", "schedulingGates")


def validate_job_update(new: Object, old: Object, errors: Errors) -> None:
    """A job's identity stays; before it starts its pods may still be placed elsewhere."""
    for name in _FIXED:
        metadata.immutable(new, old, f"spec.{name}", errors)
    after, before = _spec(new), _spec(old)
    if after.get("completions") != before.get("completions"):
        _completions(after, before, errors)
    waiting = before.get("suspend") and not (old.get("status") or {}).get("startTime")
    kept = _with_directives(before, after) if waiting else before
    if after.get("template") != kept.get("template"):
        errors.invalid("spec.template", after.get("template"), "field is immutable")


def _completions(after: Object, before: Object, errors: Errors) -> None:
    """Indexed jobs grow and shrink, if parallelism goes along."""
    if before.get("completionMode") != "Indexed":
        errors.invalid("spec.completions", after.get("completions"), "field is immutable")
    elif after.get("completions") != after.get("parallelism"):
        detail = "can only be modified in tandem with spec.parallelism"
        errors.invalid("spec.completions", after.get("completions"), detail)


def _with_directives(before: Object, after: Object) -> Object:
    """The old spec with what may change while the job waits."""
    theirs, mine = before.get("template") or {}, after.get("template") or {}
    pod = dict(theirs.get("spec") or {})
    for name in _DIRECTIVES:
        pod.pop(name, None)
        if name in (mine.get("spec") or {}):
            pod[name] = mine["spec"][name]
    meta = dict(theirs.get("metadata") or {})
    for name in ("labels", "annotations"):
        meta.pop(name, None)
        if name in (mine.get("metadata") or {}):
            meta[name] = mine["metadata"][name]
    return {**before, "template": {**theirs, "spec": pod, "metadata": meta}}
