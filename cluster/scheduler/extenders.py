"""Extenders: programs that filter and rank nodes, and bind, over HTTP (scheduler extender v1)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson

from actors.seams import Seams
from cluster.client import Client, ClientConfig, ClientError
from cluster.scheduler.columns import Columns
from cluster.scheduler.framework.effects import Unbindable
from cluster.scheduler.framework.plugin import Candidate
from cluster.scheduler.model.pod_info import PodInfo
from cluster.scheduler.preemption.candidates import importance

log = logging.getLogger(__name__)

Object = dict[str, Any]
SCALE = 10
"""Extenders score 0..10, plugins 0..100."""


class ExtenderError(Exception):
    """It does not answer, or what it answers is wrong."""


@dataclass(frozen=True)
class Verdict:
    """`nodes`: those that are left; `failed`: why not the others, by node."""

    nodes: frozenset[str]
    failed: Mapping[str, str] = field(default_factory=dict)


class Extender:
    """Of one entry of `extenders` in KubeSchedulerConfiguration, which was checked before."""

    def __init__(self, given: Mapping[str, Any], seams: Seams) -> None:
        url = urlsplit(str(given["urlPrefix"]))
        tls = given.get("tlsConfig") or {}
        config = ClientConfig(
            (f"{url.scheme}://{url.netloc}",),
            tls.get("caFile", ""),
            tls.get("certFile", ""),
            tls.get("keyFile", ""),
        )
        self._client = Client(config, seams, "kube-scheduler", timeout_s=_timeout_s(given))
        self._path, self._given = url.path.rstrip("/"), given
        self.ignorable = bool(given.get("ignorable"))
        self._managed = {r["name"] for r in given.get("managedResources") or ()}

    def interested(self, pod: PodInfo) -> bool:
        """In every pod, or in those that ask for resources that it manages."""
        return not self._managed or any(name in self._managed for name in pod.requests)

    @property
    def binds(self) -> bool:
        return bool(self._given.get("bindVerb"))

    async def filter(self, columns: Columns, pod: PodInfo, nodes: Sequence[str]) -> Verdict:
        """Raises ExtenderError."""
        if not self._given.get("filterVerb") or not nodes:
            return Verdict(frozenset(nodes))
        answer = await self._ask("filterVerb", self._arguments(columns, pod, nodes))
        if answer.get("Error"):
            raise ExtenderError(answer["Error"])
        if answer.get("NodeNames") is not None:
            left = answer["NodeNames"]
        else:
            left = [n["metadata"]["name"] for n in (answer.get("Nodes") or {}).get("items") or ()]
        failed = answer.get("FailedNodes") or {}
        failed |= answer.get("FailedAndUnresolvableNodes") or {}
        return Verdict(frozenset(left) & frozenset(nodes), failed)

    async def scores(
        self, columns: Columns, pod: PodInfo, nodes: Sequence[str]
    ) -> Mapping[str, int]:
        """By node, on the scale of weighted plugins. An extender that fails has no opinion."""
        if not self._given.get("prioritizeVerb") or not nodes:
            return {}
        weight = int(self._given.get("weight") or 1)
        try:
            answer = await self._ask("prioritizeVerb", self._arguments(columns, pod, nodes))
            return {each["Host"]: int(each["Score"]) * weight * SCALE for each in answer}
        except (ExtenderError, KeyError, TypeError, ValueError) as error:
            log.warning("extender %s did not rank nodes: %s", self._given["urlPrefix"], error)
            return {}

    async def preempt(
        self, columns: Columns, pod: PodInfo, candidates: Sequence[Candidate]
    ) -> Sequence[Candidate]:
        """Those on which it lets the pod preempt, each with the victims that it chose of those on
        the node. Raises ExtenderError."""
        if not self._given.get("preemptVerb"):
            return candidates
        answer = await self._ask("preemptVerb", self._victims(pod, candidates))
        chosen = answer.get("NodeNameToMetaVictims") or {}
        found = (self._candidate(columns, name, each or {}) for name, each in chosen.items())
        return [candidate for candidate in found if candidate is not None]

    def _victims(self, pod: PodInfo, candidates: Sequence[Candidate]) -> Object:
        """Pods by uid if it knows them itself, else as they are."""
        cached = bool(self._given.get("nodeCacheCapable"))
        victims = {
            candidate.node: {
                "Pods": [{"UID": v.uid} if cached else v.pod for v in candidate.victims],
                "NumPDBViolations": candidate.violations,
            }
            for candidate in candidates
        }
        return {"Pod": pod.pod, f"NodeNameTo{'Meta' if cached else ''}Victims": victims}

    def _candidate(self, columns: Columns, node: str, given: Object) -> Candidate | None:
        """None if it may be ignored and names no victims; otherwise that is its error."""
        there = {pod.uid: pod for pod in columns.pods_on(node)} if node in columns.rows else {}
        uids = [each["UID"] for each in given.get("Pods") or ()]
        if not uids and self.ignorable:
            return None
        if not uids:
            raise ExtenderError(f"expected at least one victim pod on node {node}")
        if missing := [uid for uid in uids if uid not in there]:
            raise ExtenderError(f"there is no pod {missing[0]} on node {node}")
        victims = sorted((there[uid] for uid in uids), key=importance)
        return Candidate(node, tuple(victims), int(given.get("NumPDBViolations") or 0))

    async def bind(self, pod: PodInfo, node: str) -> None:
        """Raises Unbindable."""
        names = {"PodName": pod.name, "PodNamespace": pod.namespace, "PodUID": pod.uid}
        try:
            answer = await self._ask("bindVerb", {**names, "Node": node})
        except ExtenderError as error:
            raise Unbindable(str(error)) from error
        if answer.get("Error"):
            raise Unbindable(answer["Error"])

    async def close(self) -> None:
        await self._client.close()

    def _arguments(self, columns: Columns, pod: PodInfo, nodes: Sequence[str]) -> Object:
        if self._given.get("nodeCacheCapable"):
            return {"Pod": pod.pod, "NodeNames": [*nodes]}
        items = [columns.node(name) for name in nodes]
        return {"Pod": pod.pod, "Nodes": {"apiVersion": "v1", "kind": "NodeList", "items": items}}

    async def _ask(self, verb: str, arguments: Object) -> Any:
        path = f"{self._path}/{self._given[verb]}"
        headers = {"Content-Type": "application/json"}
        body = orjson.dumps(arguments)
        try:
            response = await self._client.raw("POST", path, body=body, headers=headers)
            if response.status != 200:
                raise ExtenderError(f"{path} answered {response.status}")
            return orjson.loads(response.body)
        except (ClientError, orjson.JSONDecodeError) as error:
            raise ExtenderError(f"{path}: {error}") from error


def _timeout_s(given: Mapping[str, Any]) -> float:
    text = str(given.get("httpTimeout") or "5s")
    number, unit = text.rstrip("ms"), text[len(text.rstrip("ms")) :]
    return float(number) * {"ms": 0.001, "m": 60.0}.get(unit, 1.0)
