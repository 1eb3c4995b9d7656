"""The metrics that autoscaling goes by, from the metrics APIs (metrics.k8s.io and its custom and
external brothers). All amounts are in thousandths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from cluster.client import Client
from cluster.machinery import meta, quantity, selectors
from cluster.machinery.codec import json_codec

Object = dict[str, Any]

WINDOW_S = 60.0


class MetricsError(Exception):
    """No metric can be had; the text is for the status of the autoscaler."""


@dataclass(frozen=True)
class Sample:
    """An amount (in thousandths) that was measured over `window_s` before `at_s`."""

    milli: int
    at_s: float = 0.0
    window_s: float = WINDOW_S


class Metrics(Protocol):
    """Where the numbers come from; each raises MetricsError."""

    async def resource(
        self, namespace: str, selector: str, resource: str, container: str
    ) -> Mapping[str, Sample]:
        """By name of pod; of one container where that is named."""
        ...

    async def pods(self, namespace: str, selector: str, metric: Object) -> Mapping[str, Sample]:
        """A custom metric by name of pod."""
        ...

    async def described(self, namespace: str, plural: str, name: str, metric: Object) -> int:
        """A custom metric of one object."""
        ...

    async def external(self, namespace: str, metric: Object) -> int:
        """The sum of an external metric's values."""
        ...


class MetricsClient:
    """The APIs as the server aggregates them."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def resource(
        self, namespace: str, selector: str, resource: str, container: str
    ) -> Mapping[str, Sample]:
        base = f"/apis/metrics.k8s.io/v1beta1/namespaces/{quote(namespace)}/pods"
        found = await self._get(f"{base}?{urlencode({'labelSelector': selector})}")
        samples = {}
        for item in found.get("items") or ():
            chosen = [
                each["usage"].get(resource)
                for each in item.get("containers") or ()
                if container in ("", each["name"])
            ]
            if chosen and all(amount is not None for amount in chosen):
                total = sum(map(quantity.milli, chosen))
                samples[item["metadata"]["name"]] = Sample(total, _time(item), _window(item))
        if not samples:
            raise MetricsError("no metrics returned from resource metrics API")
        return samples

    async def pods(self, namespace: str, selector: str, metric: Object) -> Mapping[str, Sample]:
        found = await self._custom(namespace, "pods/*", metric, selector)
        return {
            item["describedObject"]["name"]: Sample(quantity.milli(item["value"]), _time(item))
            for item in found
        }

    async def described(self, namespace: str, plural: str, name: str, metric: Object) -> int:
        found = await self._custom(namespace, f"{plural}/{quote(name)}", metric, "")
        return quantity.milli(found[0]["value"])

    async def external(self, namespace: str, metric: Object) -> int:
        base = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{quote(namespace)}"
        query = urlencode({"labelSelector": _labels(metric)})
        found = await self._get(f"{base}/{quote(metric['name'], safe='')}?{query}")
        items = found.get("items") or ()
        if not items:
            raise MetricsError("no metrics returned from external metrics API")
        return sum(quantity.milli(item["value"]) for item in items)

    async def _custom(
        self, namespace: str, what: str, metric: Object, selector: str
    ) -> list[Object]:
        base = f"/apis/custom.metrics.k8s.io/v1beta2/namespaces/{quote(namespace)}"
        query = {"labelSelector": selector, "metricLabelSelector": _labels(metric)}
        given = urlencode({name: text for name, text in query.items() if text})
        found = await self._get(f"{base}/{what}/{quote(metric['name'], safe='')}?{given}")
        items: list[Object] = found.get("items") or []
        if not items:
            raise MetricsError("no metrics returned from custom metrics API")
        return items

    async def _get(self, target: str) -> Object:
        answer = await self._client.raw("GET", target)
        if answer.status != 200:
            where = target.partition("?")[0]
            text = f"the server answered {answer.status} to a request for metrics ({where})"
            raise MetricsError(text)
        return json_codec.decode(answer.body)


def _labels(metric: Object) -> str:
    found = metric.get("selector")
    return str(selectors.from_object(found)) if found else ""


def _time(item: Object) -> float:
    text = item.get("timestamp")
    return meta.parse_time(text) if text else 0.0


def _window(item: Object) -> float:
    """A Go duration of seconds and fractions ("30s", "1m0s")."""
    minutes, _, seconds = str(item.get("window") or "").rpartition("m")
    try:
        return float(minutes or 0) * 60 + float(seconds.rstrip("s") or 0) or WINDOW_S
    except ValueError:
        return WINDOW_S
