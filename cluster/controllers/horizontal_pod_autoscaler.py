"""HorizontalPodAutoscaler: replicas follow metrics, through the scale subresource of the target."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cluster.client import ClientError
from cluster.controllers import autoscaling_decision as decision
from cluster.controllers.autoscaling_metrics import Metrics, MetricsClient, MetricsError, Sample
from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.controllers.scales import Scales
from cluster.machinery import meta, quantity, resources, selectors
from cluster.machinery.resources import Resource
from cluster.machinery.status import ApiError

Object = dict[str, Any]

AUTOSCALERS = "horizontalpodautoscalers.autoscaling"
PERIOD_S = 15.0


@dataclass(frozen=True)
class Target:
    """What is scaled: its resource, its Scale, and the pods it has."""

    resource: Resource
    scale: Object
    selector: str
    pods: Sequence[Object]

    @property
    def replicas(self) -> int:
        return int((self.scale.get("spec") or {}).get("replicas") or 0)


@dataclass(frozen=True)
class Advice:
    """Of one metric: replicas, its name for messages, and its entry of `currentMetrics`."""

    replicas: int
    name: str
    current: Object


class HorizontalPodAutoscalerController(Controller):
    """`config["metrics"]` stands in for the metrics APIs, `config["autoscaling_s"]` for 15 s."""

    name = "horizontal-pod-autoscaler"
    account = "horizontal-pod-autoscaler"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._metrics: Metrics = context.config.get("metrics") or MetricsClient(self.client)
        self._scales = Scales(self.client)
        self._period_s = float(context.config.get("autoscaling_s") or PERIOD_S)
        self._memories: dict[str, decision.Memory] = {}
        self._looked: dict[str, tuple[int, float]] = {}
        self._pods = self.informers.indexed("pods", "namespace", lambda p: [meta.namespace(p)])

    def watches(self) -> Sequence[Watch]:
        return [Watch(AUTOSCALERS), Watch("pods", lambda _: ())]

    async def reconcile(self, key: str) -> Result | None:
        found = self.informers.of(AUTOSCALERS).get(key)
        if found is None:
            self._memories.pop(key, None)
            self._looked.pop(key, None)
            return None
        wait_s = self._too_early_s(key, found)
        if wait_s > 0:
            return Result(wait_s)
        new = copy.deepcopy(found)
        new.setdefault("status", {})
        memory = self._memories.setdefault(key, decision.Memory())
        try:
            await self._scale(new, memory)
        finally:
            if new["status"] != (found.get("status") or {}):
                await self.client.update(AUTOSCALERS, new, subresource="status")
        return Result(self._period_s)

    def _too_early_s(self, key: str, scaler: Object) -> float:
        """Our own status, which metrics change, must not make us look again before the period
        is over; a new spec may."""
        generation, now_s = int(scaler["metadata"].get("generation") or 0), self.clock.now()
        before, at_s = self._looked.get(key, (-1, 0.0))
        if generation == before and now_s < at_s + self._period_s:
            return at_s + self._period_s - now_s
        self._looked[key] = (generation, now_s)
        return 0.0

    async def _scale(self, scaler: Object, memory: decision.Memory) -> None:
        status, spec = scaler["status"], scaler["spec"]
        status["observedGeneration"] = scaler["metadata"].get("generation", 0)
        try:
            target = await self._target(scaler)
        except (ApiError, ClientError) as error:
            message = f"the HPA controller was unable to get the target's current scale: {error}"
            self._say(scaler, "AbleToScale", False, "FailedGetScale", message)
            self.events.event(scaler, "Warning", "FailedGetScale", str(error))
            return
        self._say(
            scaler,
            "AbleToScale",
            True,
            "SucceededGetScale",
            "the HPA controller was able to get the target's current scale",
        )
        current, now_s = target.replicas, self.clock.wall()
        low, high = int(spec.get("minReplicas", 1)), int(spec["maxReplicas"])
        status |= {"currentReplicas": current, "desiredReplicas": current}
        if current == 0 and low != 0:
            message = "scaling is disabled since the replica count of the target is zero"
            self._say(scaler, "ScalingActive", False, "ScalingDisabled", message)
            return
        if not low <= current <= high:
            wanted = min(max(current, low), high)
            reason = "Current number of replicas " + (
                "above Spec.MaxReplicas" if current > high else "below Spec.MinReplicas"
            )
        else:
            advice = await self._advise(scaler, target, now_s)
            if advice is None:
                return
            limited = decision.limit(spec, current, advice.replicas, memory, now_s)
            self._tell(scaler, limited, wanted=advice.replicas)
            wanted = limited.replicas
            reason = f"{advice.name} above target"
            if wanted < current:
                reason = "All metrics below target"
        await self._rescale(scaler, target, wanted, reason, memory)

    def _tell(self, scaler: Object, limited: decision.Limited, wanted: int) -> None:
        if limited.stabilized:
            down = limited.replicas > wanted
            reason = "ScaleDownStabilized" if down else "ScaleUpStabilized"
            message = "recent recommendations were different, applying the stabilized one"
            self._say(scaler, "AbleToScale", True, reason, message)
        else:
            message = "recommended size matches current size"
            self._say(scaler, "AbleToScale", True, "ReadyForNewScale", message)
        reason = limited.reason or "DesiredWithinRange"
        message = (
            f"the desired replica count is limited: {reason}"
            if limited.reason
            else "the desired count is within the acceptable range"
        )
        self._say(scaler, "ScalingLimited", bool(limited.reason), reason, message)

    async def _rescale(
        self, scaler: Object, target: Target, wanted: int, reason: str, memory: decision.Memory
    ) -> None:
        current, status = target.replicas, scaler["status"]
        status["desiredReplicas"] = wanted
        if wanted == current:
            return
        scale = {**target.scale, "spec": {"replicas": wanted}}
        try:
            await self.client.update(target.resource, scale, subresource="scale")
        except (ApiError, ClientError) as error:
            message = f"the HPA controller was unable to update the target scale: {error}"
            self._say(scaler, "AbleToScale", False, "FailedUpdateScale", message)
            text = f"New size: {wanted}; reason: {reason}; error: {error}"
            self.events.event(scaler, "Warning", "FailedRescale", text)
            status["desiredReplicas"] = current
            return
        message = f"the HPA controller was able to update the target scale to {wanted}"
        self._say(scaler, "AbleToScale", True, "SucceededRescale", message)
        text = f"New size: {wanted}; reason: {reason}"
        self.events.event(scaler, "Normal", "SuccessfulRescale", text)
        now_s = self.clock.wall()
        memory.changes.append((now_s, wanted - current))
        status["lastScaleTime"] = meta.format_time(now_s)

    async def _target(self, scaler: Object) -> Target:
        reference, namespace = scaler["spec"]["scaleTargetRef"], meta.namespace(scaler)
        resource, scale = await self._scales.get(reference, namespace)
        text = str((scale.get("status") or {}).get("selector") or "")
        selector = selectors.parse_labels(text) if text else selectors.NOTHING
        every = self._pods.by_index("namespace", namespace)
        mine = [pod for pod in every if selector.matches(pod["metadata"].get("labels"))]
        return Target(resource, scale, text, mine)

    async def _advise(self, scaler: Object, target: Target, now_s: float) -> Advice | None:
        """The largest of all metrics' advice; None (and a condition) if it cannot be trusted:
        while some metric is missing the others may only scale up."""
        found: list[Advice] = []
        failed: tuple[str, str] | None = None
        for metric in scaler["spec"].get("metrics") or ():
            try:
                found.append(await self._advice(scaler, metric, target, now_s))
            except (MetricsError, ApiError, ClientError, ValueError) as error:
                failed = failed or (f"FailedGet{metric['type']}Metric", str(error))
        best = max(found, key=lambda each: each.replicas, default=None)
        if failed and (best is None or best.replicas < target.replicas):
            message = f"the HPA was unable to compute the replica count: {failed[1]}"
            self._say(scaler, "ScalingActive", False, failed[0], message)
            self.events.event(scaler, "Warning", failed[0], failed[1])
            return None
        if best is None:
            return None
        scaler["status"]["currentMetrics"] = [each.current for each in found]
        message = f"the HPA was able to successfully calculate a replica count from {best.name}"
        self._say(scaler, "ScalingActive", True, "ValidMetricFound", message)
        return best

    async def _advice(self, scaler: Object, metric: Object, target: Target, now_s: float) -> Advice:
        namespace, kind = meta.namespace(scaler), metric["type"]
        if kind in ("Resource", "ContainerResource"):
            return await self._resource(namespace, metric, target, now_s)
        if kind == "Pods":
            source = metric["pods"]
            samples = await self._metrics.pods(namespace, target.selector, source["metric"])
            wanted = quantity.milli(source["target"]["averageValue"])
            replicas, mean = self._by_mean(target, samples, "", wanted, now_s)
            current = {"metric": source["metric"], "current": {"averageValue": _text(mean)}}
            name = f"pods metric {source['metric']['name']}"
            return Advice(replicas, name, {"type": kind, "pods": current})
        return await self._one_value(namespace, metric, target)

    async def _resource(
        self, namespace: str, metric: Object, target: Target, now_s: float
    ) -> Advice:
        kind = metric["type"]
        field = kind[0].lower() + kind[1:]
        source = metric[field]
        name, container = source["name"], source.get("container", "")
        samples = await self._metrics.resource(namespace, target.selector, name, container)
        wanted = source["target"]
        current = {"name": name, **({"container": container} if container else {})}
        if wanted["type"] == "Utilization":
            groups = decision.group(target.pods, samples, name, now_s)
            percent = int(wanted["averageUtilization"])
            requests = {p["metadata"]["name"]: _request(p, name, container) for p in target.pods}
            replicas, usage = decision.by_target(
                target.replicas, groups, samples, requests, percent, max(100, percent)
            )
            mean = sum(samples[n].milli for n in groups.ready) / max(1, len(groups.ready))
            current["current"] = {"averageUtilization": int(usage), "averageValue": _text(mean)}
        else:
            least = quantity.milli(wanted["averageValue"])
            replicas, mean = self._by_mean(target, samples, name, least, now_s)
            current["current"] = {"averageValue": _text(mean)}
        return Advice(replicas, f"{name} resource", {"type": kind, field: current})

    def _by_mean(
        self,
        target: Target,
        samples: Any,
        resource: str,
        wanted: int,
        now_s: float,
    ) -> tuple[int, float]:
        groups = decision.group(target.pods, samples, resource, now_s)
        weights = {pod["metadata"]["name"]: 100 for pod in target.pods}
        return decision.by_target(target.replicas, groups, samples, weights, wanted, wanted)

    async def _one_value(self, namespace: str, metric: Object, target: Target) -> Advice:
        """Object and External metrics: one number for all pods."""
        kind = metric["type"]
        field = kind.lower()
        source = metric[field]
        if kind == "Object":
            seen = source["describedObject"]
            resource = resources.for_kind(seen["apiVersion"], seen["kind"])
            plural = resource.plural if resource else f"{seen['kind'].lower()}s"
            group, _ = meta.group_version(seen["apiVersion"])
            named = f"{plural}.{group}" if group else plural
            value = await self._metrics.described(namespace, named, seen["name"], source["metric"])
        else:
            value = await self._metrics.external(namespace, source["metric"])
        wanted, current = source["target"], target.replicas
        if wanted["type"] == "Value":
            groups = decision.group(target.pods, _everywhere(target.pods), "", 0.0)
            goal = quantity.milli(wanted["value"])
            replicas = decision.by_value(current, len(groups.ready), value, goal)
            shown = {"value": _text(value)}
        else:
            goal = quantity.milli(wanted["averageValue"])
            replicas = decision.by_average_value(current, value, goal)
            shown = {"averageValue": _text(value / max(1, current))}
        kept = {k: source[k] for k in ("metric", "describedObject") if k in source}
        entry = {"type": kind, field: {**kept, "current": shown}}
        return Advice(replicas, f"{field} metric {source['metric']['name']}", entry)

    def _say(self, scaler: Object, kind: str, value: bool, reason: str, message: str) -> None:
        condition = {"type": kind, "status": str(value), "reason": reason, "message": message}
        meta.set_condition(scaler, condition, self.clock.wall())


def _request(pod: Object, resource: str, container: str) -> int:
    """What the pod (or one container) asks for, in thousandths; ValueError if it says nothing."""
    total = 0
    spec = pod["spec"]
    restartable = [
        each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"
    ]
    for each in [*spec["containers"], *restartable]:
        if container not in ("", each["name"]):
            continue
        asked = ((each.get("resources") or {}).get("requests") or {}).get(resource)
        if asked is None:
            name = pod["metadata"]["name"]
            raise ValueError(
                f"missing request for {resource} in container {each['name']} of Pod {name}"
            )
        total += quantity.milli(asked)
    return total


def _everywhere(every: Sequence[Object]) -> dict[str, Sample]:
    return {pod["metadata"]["name"]: Sample(0) for pod in every}


def _text(milli: float) -> str:
    return quantity.canonical(f"{int(milli)}m")
