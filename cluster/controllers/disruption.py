"""Disruption: how many pods of a PodDisruptionBudget may be evicted now.

The eviction subresource of the API server takes from `disruptionsAllowed` and notes the pod in
`disruptedPods`; here pods that went are forgotten again and the numbers are renewed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cluster.controllers import pods
from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.controllers.scales import Scales
from cluster.machinery import intstr, meta, selectors
from cluster.machinery.status import ApiError

Object = dict[str, Any]

BUDGETS = "poddisruptionbudgets.policy"
OWNERS = {
    ("apps", "ReplicaSet"): "replicasets.apps",
    ("apps", "Deployment"): "deployments.apps",
    ("apps", "StatefulSet"): "statefulsets.apps",
    ("", "ReplicationController"): "replicationcontrollers",
}
Find = Callable[[Object, str], Object | None]
DELETION_TIMEOUT_S = 120.0
"""An evicted pod that is still there after this time counts as healthy again."""


class DisruptionController(Controller):
    name = "disruption"
    account = "disruption-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._budgets = self.informers.of(BUDGETS)
        self._scales = Scales(self.client)
        self._pods = self.informers.indexed("pods", "namespace", lambda pod: [meta.namespace(pod)])

    def watches(self) -> Sequence[Watch]:
        owners = [Watch(each, self._keys_in_namespace) for each in OWNERS.values()]
        return [Watch(BUDGETS), Watch("pods", self._keys_of_pod), *owners]

    def _keys_of_pod(self, pod: Object) -> Iterable[str]:
        labels = pod["metadata"].get("labels")
        found = [b for b in self._budgets.list() if meta.namespace(b) == meta.namespace(pod)]
        return [meta.key(b) for b in found if _selector(b).matches(labels)]

    def _keys_in_namespace(self, owner: Object) -> Iterable[str]:
        """How many replicas an owner has may matter to any budget of its namespace."""
        found = self._budgets.list()
        return [meta.key(b) for b in found if meta.namespace(b) == meta.namespace(owner)]

    async def reconcile(self, key: str) -> Result | None:
        budget = self._budgets.get(key)
        if budget is None:
            return None
        selector = _selector(budget)
        found = self._pods.by_index("namespace", meta.namespace(budget))
        mine = [pod for pod in found if selector.matches(pod["metadata"].get("labels"))]
        if not mine:
            self.events.event(budget, "Normal", "NoPods", "No matching pods found")
        now_s = self.clock.wall()
        try:
            find = self._finder(await self._custom(mine))
            status, again_s = status_of(budget, mine, find, now_s)
        except (LookupError, ApiError) as error:
            message = f"Failed to calculate the number of expected pods: {error}"
            self.events.event(budget, "Warning", "CalculateExpectedPodCountFailed", message)
            status, again_s = failed_status(budget, str(error), now_s), None
        if status != (budget.get("status") or {}):
            new = {**budget, "status": status}
            await self.client.update(BUDGETS, new, subresource="status")
        return None if again_s is None else Result(again_s)

    async def _custom(self, mine: Sequence[Object]) -> dict[str, Object | None]:
        """The Scales of those controllers of pods that are of other kinds, by uid. Raises ApiError
        for a kind that has none."""
        found: dict[str, Object | None] = {}
        for pod in mine:
            reference = meta.controller_of(pod)
            if reference is None or _resource_of(reference) or reference["uid"] in found:
                continue
            try:
                _, scale = await self._scales.get(reference, meta.namespace(pod))
            except ApiError as error:
                if not _names(error, reference):
                    raise
                scale = {}  # the controller is gone
            same = (scale.get("metadata") or {}).get("uid") == reference["uid"]
            found[reference["uid"]] = scale if same else None
        return found

    def _finder(self, custom: Mapping[str, Object | None]) -> Find:
        def find(reference: Object, namespace: str) -> Object | None:
            resource = _resource_of(reference)
            if resource is None:
                return custom[reference["uid"]]
            found = self.informers.of(resource).get(f"{namespace}/{reference['name']}")
            return found if found and found["metadata"]["uid"] == reference["uid"] else None

        return find


def _resource_of(reference: Object) -> str | None:
    """Of the kinds whose replicas are followed."""
    group, _ = meta.group_version(reference["apiVersion"])
    return OWNERS.get((group, reference["kind"]))


def _names(error: ApiError, reference: Object) -> bool:
    """Whether this object is not there; else it is the kind, or its scale."""
    details = error.status.get("details") or {}
    return error.code == 404 and details.get("name") == reference["name"]


def _selector(budget: Object) -> selectors.LabelSelector:
    return selectors.from_object(budget["spec"].get("selector"))


def expected_scale(mine: Iterable[Object], find: Find) -> int:
    """The replicas of all controllers of these pods; pods without one count as nothing.

    LookupError for a controller whose replicas are not known here.
    """
    scales: dict[str, int] = {}
    for pod in mine:
        reference = meta.controller_of(pod)
        while reference is not None:
            owner = find(reference, meta.namespace(pod))
            if owner is None:
                break
            above = meta.controller_of(owner)
            if above is None or above["kind"] != "Deployment":
                scales[owner["metadata"]["uid"]] = int(owner["spec"].get("replicas", 1))
                break
            reference = above
    return sum(scales.values())


def expected(budget: Object, mine: Sequence[Object], find: Find) -> tuple[int, int]:
    """(pods that there should be, healthy ones that must be), as upstream."""
    spec = budget["spec"]
    if spec.get("maxUnavailable") is not None:
        total = expected_scale(mine, find)
        return total, max(0, total - intstr.resolve(spec["maxUnavailable"], total, True))
    least = spec.get("minAvailable", 1)
    total = expected_scale(mine, find) if intstr.is_percent(least) else len(mine)
    return total, intstr.resolve(least, total, True)


def disrupted(
    budget: Object, mine: Iterable[Object], now_s: float
) -> tuple[dict[str, str], float | None]:
    """Evictions whose pods are not seen as going yet, and when the first is given up."""
    by_name = {pod["metadata"]["name"]: pod for pod in mine}
    noted: Mapping[str, str] = (budget.get("status") or {}).get("disruptedPods") or {}
    kept, waits = {}, []
    for name, since in noted.items():
        left_s = meta.parse_time(since) + DELETION_TIMEOUT_S - now_s
        pod = by_name.get(name)
        if pod is not None and not pods.is_deleting(pod) and left_s > 0:
            kept[name] = since
            waits.append(left_s)
    return kept, min(waits, default=None)


def status_of(
    budget: Object, mine: Sequence[Object], find: Find, now_s: float
) -> tuple[Object, float | None]:
    """The status, and in how many seconds to look again. LookupError as `expected_scale`."""
    kept, again_s = disrupted(budget, mine, now_s)
    total, needed = expected(budget, mine, find)
    healthy = sum(
        pods.is_ready(pod) and not pods.is_deleting(pod) and pod["metadata"]["name"] not in kept
        for pod in mine
    )
    allowed = max(0, healthy - needed) if total > 0 else 0
    status = copy.deepcopy(budget.get("status") or {})
    status |= {
        "currentHealthy": healthy,
        "desiredHealthy": needed,
        "expectedPods": total,
        "disruptionsAllowed": allowed,
        "disruptedPods": kept,
        "observedGeneration": budget["metadata"].get("generation", 0),
    }
    if not kept:
        del status["disruptedPods"]
    reason = "SufficientPods" if allowed else "InsufficientPods"
    _set(budget, status, bool(allowed), reason, "", now_s)
    return status, again_s


def failed_status(budget: Object, message: str, now_s: float) -> Object:
    """Fail safe: nothing may be evicted while the numbers are not known."""
    status = copy.deepcopy(budget.get("status") or {})
    status |= {"currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0} | status
    status["disruptionsAllowed"] = 0
    _set(budget, status, False, "SyncFailed", message, now_s)
    return status


def _set(
    budget: Object, status: Object, value: bool, reason: str, message: str, now_s: float
) -> None:
    condition = {
        "type": "DisruptionAllowed",
        "status": str(value),
        "reason": reason,
        "message": message,
        "observedGeneration": budget["metadata"].get("generation", 0),
    }
    meta.set_condition({"status": status}, condition, now_s)
