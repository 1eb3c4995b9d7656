"""POST pods/NAME/eviction: deletes the pod if its PodDisruptionBudget allows it (upstream's
EvictionREST).
"""

from __future__ import annotations

import dataclasses

from cluster.apiserver import bodies, encodings
from cluster.apiserver.bodies import Object
from cluster.apiserver.context import Call
from cluster.apiserver.handlers import deleting
from cluster.apiserver.handlers.writing import place
from cluster.apiserver.http.messages import Response
from cluster.machinery import meta, selectors, status
from cluster.machinery.codec import json_codec
from cluster.machinery.status import ApiError
from cluster.storage import keys
from cluster.storage.listing import ListOptions
from cluster.storage.options import DeleteOptions, Preconditions
from cluster.storage.selection import Selection

BUDGETS = "policy/v1/poddisruptionbudgets"
MAX_DISRUPTED = 2000
STILL_PROCESSED_S = 10
ATTEMPTS = 5


async def evict(call: Call) -> Response:
    """201 and a pod that goes; 429 while its budget allows no disruption."""
    eviction = bodies.read(call.request, "policy/v1", "Eviction")
    place(call, eviction)
    if eviction["metadata"].get("name", call.target.name) != call.target.name:
        raise status.bad_request("name in URL does not match name in Eviction object")
    await call.admit("create", eviction, None)
    await call.judge("create", eviction, None)
    options = deleting.parse_options(eviction.get("deleteOptions") or {})
    if call.dry_run:
        options = dataclasses.replace(options, dry_run=True)
    for attempt in range(ATTEMPTS):
        try:
            await _try(call, options)
            break
        except ApiError as error:
            stale = error.reason == "Conflict" and not options.preconditions.resource_version
            if not stale or attempt == ATTEMPTS - 1:
                raise
    return encodings.reply(call.request, 201, status.success() | {"code": 201})


async def _try(call: Call, options: DeleteOptions) -> None:
    pod = json_codec.decode(await call.registry.get(call.namespace, call.target.name))
    budget = None if _needs_no_budget(pod) else await _budget_of(call, pod)
    if budget is None:
        pinned = options if not _needs_no_budget(pod) else _pin(options, pod)
        await _delete(call, pod, pinned)
    elif not meta.condition_is(pod, "Ready") and _may_go_unready(budget):
        await _delete(call, pod, _pin(options, pod))  # Unless it becomes ready meanwhile.
    else:
        await _spend(call, budget, call.target.name, options.dry_run)
        await _delete(call, pod, options)


def _needs_no_budget(pod: Object) -> bool:
    """A pod that does not run yet, or any more, disrupts nothing."""
    ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed", "Pending")
    return ended or bool(pod["metadata"].get("deletionTimestamp"))


async def _budget_of(call: Call, pod: Object) -> Object | None:
    kept = call.context.find(BUDGETS)
    everything = Selection(keys.prefix(kept.resource, call.namespace))
    page = await kept.lister.list(ListOptions(everything))
    labels = pod["metadata"].get("labels")
    every = [entry.decode() for entry in page.entries]
    found = [
        each
        for each in every
        if selectors.from_object(each["spec"].get("selector")).matches(labels)
    ]
    if len(found) > 1:
        raise status.internal_error(
            "This pod has more than one PodDisruptionBudget, "
            "which the eviction subresource does not support."
        )
    return found[0] if found else None


def _may_go_unready(budget: Object) -> bool:
    """Pods that are not ready go always, or (by default) while enough others are healthy."""
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    found = budget.get("status") or {}
    needed = int(found.get("desiredHealthy") or 0)
    return needed > 0 and int(found.get("currentHealthy") or 0) >= needed


def _pin(options: DeleteOptions, pod: Object) -> DeleteOptions:
    """Only the pod as it was judged, unless the client asked for a version itself."""
    asked = options.preconditions
    version = asked.resource_version or pod["metadata"]["resourceVersion"]
    uid = asked.uid or pod["metadata"]["uid"]
    return dataclasses.replace(options, preconditions=Preconditions(uid, version))


async def _spend(call: Call, budget: Object, pod: str, dry_run: bool) -> None:
    """Take one disruption from the budget, in one step with checking that there is one."""

    async def change(fresh: Object) -> Object:
        found = fresh.setdefault("status", {})
        _refuse(call, fresh, pod)
        now_s = call.context.seams.clock.wall()
        found["disruptionsAllowed"] -= 1
        if found["disruptionsAllowed"] == 0:
            _mark_insufficient(fresh, now_s)
        found["disruptedPods"] = {
            **(found.get("disruptedPods") or {}),
            pod: meta.format_time(now_s),
        }
        return fresh

    await call.context.find(BUDGETS).registry.update(
        call.namespace, budget["metadata"]["name"], change, subresource="status", dry_run=dry_run
    )


def _refuse(call: Call, budget: Object, pod: str) -> None:
    found, name = budget["status"], budget["metadata"]["name"]
    generation = int(budget["metadata"].get("generation") or 0)
    if int(found.get("observedGeneration") or 0) < generation:
        message = f"The disruption budget {name} is still being processed by the server."
        raise _too_many(message, message, STILL_PROCESSED_S)
    if len(found.get("disruptedPods") or ()) > MAX_DISRUPTED:
        message = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise status.forbidden(call.resource, pod, message)
    if int(found.get("disruptionsAllowed") or 0) <= 0:
        needed = int(found.get("desiredHealthy") or 0)
        healthy = int(found.get("currentHealthy") or 0)
        cause = (
            f"The disruption budget {name} needs {needed} healthy pods and has {healthy} currently"
        )
        message = "Cannot evict pod as it would violate the pod's disruption budget."
        raise _too_many(message, cause, 0)


def _too_many(message: str, cause: str, retry_s: int) -> ApiError:
    details = {"causes": [{"reason": "DisruptionBudget", "message": cause}]}
    more = {"retryAfterSeconds": retry_s} if retry_s else {}
    return status.failure(429, "TooManyRequests", message, {**details, **more})


def _mark_insufficient(budget: Object, now_s: float) -> None:
    condition = {
        "type": "DisruptionAllowed",
        "status": "False",
        "reason": "InsufficientPods",
        "message": "",
        "observedGeneration": budget["status"].get("observedGeneration", 0),
    }
    meta.set_condition(budget, condition, now_s)


async def _delete(call: Call, pod: Object, options: DeleteOptions) -> None:
    """Say in the pod why it goes, then delete it."""
    uid = options.preconditions.uid or pod["metadata"]["uid"]
    asked = options.preconditions.resource_version

    async def mark(fresh: Object) -> Object:
        if asked and fresh["metadata"]["resourceVersion"] != asked:
            raise status.conflict(call.resource, call.target.name)
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
        }
        fresh["metadata"]["uid"] = uid
        meta.set_condition(fresh, condition, call.context.seams.clock.wall())
        return fresh

    if not _needs_no_budget(pod):
        written = await call.registry.update(
            call.namespace, call.target.name, mark, subresource="status", dry_run=options.dry_run
        )
        if asked and not options.dry_run:
            version = written.obj["metadata"]["resourceVersion"]
            options = dataclasses.replace(options, preconditions=Preconditions(uid, version))
    await call.registry.delete(call.namespace, call.target.name, options)
