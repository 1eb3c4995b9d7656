"""Which failures of pods count for a Job, and which of its successes are enough. Pure.

podFailurePolicy and successPolicy, rule by rule as upstream; the first rule that matches decides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from cluster.controllers import job_indexes, pods

Object = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """`message`: why the Job fails at once; `counts`: towards the limits of failures."""

    counts: bool = True
    action: str = ""
    message: str = ""


def failure_verdict(job: Object, pod: Object) -> Verdict:
    """What the Job's podFailurePolicy makes of a failed pod; without one it counts."""
    policy = job["spec"].get("podFailurePolicy") or {}
    for number, rule in enumerate(policy.get("rules") or ()):
        what = _exit_code(rule, pod) or _pod_condition(rule, pod)
        if what:
            action = rule["action"]
            fatal = action == "FailJob"
            message = f"{what} matching {action} rule at index {number}" if fatal else ""
            return Verdict(action != "Ignore", action, message)
    return Verdict()


def _exit_code(rule: Object, pod: Object) -> str:
    wanted = rule.get("onExitCodes")
    if not wanted:
        return ""
    status = pod.get("status") or {}
    every = (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))
    for container in every:
        ended = (container.get("state") or {}).get("terminated")
        if ended and _matches_code(wanted, container["name"], int(ended.get("exitCode") or 0)):
            metadata = pod["metadata"]
            where = f"{metadata['namespace']}/{metadata['name']}"
            code = ended["exitCode"]
            return f"Container {container['name']} for pod {where} failed with exit code {code}"
    return ""


def _matches_code(wanted: Object, container: str, code: int) -> bool:
    name = wanted.get("containerName")
    if code == 0 or (name is not None and name != container):
        return False
    return bool((code in wanted["values"]) == (wanted["operator"] == "In"))


def _pod_condition(rule: Object, pod: Object) -> str:
    present = (pod.get("status") or {}).get("conditions") or ()
    for pattern in rule.get("onPodConditions") or ():
        wanted = (pattern["type"], pattern.get("status") or "True")
        if any((each["type"], each["status"]) == wanted for each in present):
            metadata = pod["metadata"]
            return f"Pod {metadata['namespace']}/{metadata['name']} has condition {wanted[0]}"
    return ""


def replaces_failed_only(job: Object) -> bool:
    """Whether a pod is replaced when it has failed, not already when it is being deleted."""
    spec = job["spec"]
    return spec.get("podReplacementPolicy") == "Failed" or bool(spec.get("podFailurePolicy"))


def has_failed(job: Object, pod: Object) -> bool:
    """A pod being deleted has failed too, unless only failed pods are replaced."""
    phase = pods.phase(pod)
    if phase == "Failed":
        return True
    return not replaces_failed_only(job) and pods.is_deleting(pod) and phase != "Succeeded"


def index_has_failed(job: Object, pod: Object) -> bool:
    """Whether this pod's failure is the last that its index may have."""
    if not has_failed(job, pod):
        return False
    verdict = failure_verdict(job, pod)
    if verdict.action == "FailIndex":
        return True
    limit = int(job["spec"]["backoffLimitPerIndex"])
    return verdict.counts and job_indexes.failures(pod) >= limit


def success_message(job: Object, succeeded: Collection[int]) -> str:
    """Which rule of the successPolicy these indexes fulfil; "" for none."""
    spec = job["spec"]
    rules = (spec.get("successPolicy") or {}).get("rules") or ()
    for number, rule in enumerate(rules):
        if _is_met(rule, succeeded, int(spec["completions"])):
            return f"Matched rules at index {number}"
    return ""


def _is_met(rule: Object, succeeded: Iterable[int], completions: int) -> bool:
    done = set(succeeded)
    needed = rule.get("succeededCount")
    if rule.get("succeededIndexes") is not None:
        required = job_indexes.parse(rule["succeededIndexes"], completions)
        done &= required
        needed = len(required) if needed is None else needed
    return needed is not None and len(done) >= int(needed)
