"""Priority: a pod's class becomes a number, and there is one default class at most."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from cluster.apiserver.admission.chain import Plugin, Review
from cluster.machinery import status
from cluster.machinery.validation.policy import SYSTEM_CLASSES

Object = dict[str, Any]
FindClass = Callable[[str], Awaitable[Object | None]]
"""The class of a name; of "" the default one."""

PREEMPT = "PreemptLowerPriority"


def plugin(find: FindClass) -> Plugin:
    """For pods, and for the classes themselves."""

    async def admit(review: Review) -> None:
        if review.new is None or review.subresource:
            return
        if review.resource.plural == "pods" and review.operation == "create":
            await _pod(review, review.new, find)
        elif review.resource.plural == "priorityclasses" and review.new.get("globalDefault"):
            await _refuse_second_default(review, find)

    return admit


async def _pod(review: Review, pod: Object, find: FindClass) -> None:
    spec = pod.setdefault("spec", {})
    name = spec.get("priorityClassName") or ""
    found = await find(name)
    if found is None and name in SYSTEM_CLASSES:  # before the server has made them
        found = {"metadata": {"name": name}, "value": SYSTEM_CLASSES[name]}
    if found is None and name:
        text = f"no PriorityClass with name {name} was found"
        raise status.forbidden(review.resource, review.name, text)
    value = (found or {}).get("value", 0)
    policy = (found or {}).get("preemptionPolicy", PREEMPT)
    if spec.get("priority", value) != value:
        text = (
            f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; "
            f"priority admission controller computed {value} from the given PriorityClass name"
        )
        raise status.forbidden(review.resource, review.name, text)
    if spec.get("preemptionPolicy", policy) != policy:
        text = (
            f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be "
            f"provided in pod spec; priority admission controller computed {policy} from the "
            "given PriorityClass name"
        )
        raise status.forbidden(review.resource, review.name, text)
    if found is not None:
        spec["priorityClassName"] = found["metadata"]["name"]
    spec["priority"], spec["preemptionPolicy"] = value, policy


async def _refuse_second_default(review: Review, find: FindClass) -> None:
    found = await find("")
    if found is not None and found["metadata"]["name"] != review.name:
        name = found["metadata"]["name"]
        text = f"PriorityClass {name} is already marked as default. Only one default can exist"
        raise status.forbidden(review.resource, review.name, text)
