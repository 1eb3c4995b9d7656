"""Objects that users create, with the variety that a seed gives them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.seams import Randomness

Object = dict[str, Any]


def _spec(number: int = 1) -> Object:
    return {"containers": [{"name": "c", "image": f"sim:v{number}"}]}


def healthy(number: int) -> Object:
    """A change of a template: another version that works."""
    return {"metadata": {"annotations": {"sim/ready": None}}, "spec": _spec(number)}


def never_ready(number: int) -> Object:
    return {"metadata": {"annotations": {"sim/ready": "never"}}, "spec": _spec(number)}


def _template(name: str) -> Object:
    return {"metadata": {"labels": {"app": name}}, "spec": _spec()}


def _object(api_version: str, kind: str, name: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


def strategy(pick: Randomness) -> Object:
    if pick.random() < 0.2:
        return {"type": "Recreate", "rollingUpdate": None}
    surge, down = pick.choice([(0, 1), (1, 0), (1, 1), (2, 1), ("25%", "25%"), ("50%", 0), (0, 2)])
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": down}}


def deployment(name: str, pick: Randomness) -> Object:
    spec = {
        "replicas": pick.randint(1, 6), "selector": {"matchLabels": {"app": name}},
        "template": _template(name), "minReadySeconds": pick.choice([0, 0, 2]),
        "strategy": {k: v for k, v in strategy(pick).items() if v},
        "revisionHistoryLimit": pick.choice([0, 2, 10]),
    }  # fmt: skip
    return _object("apps/v1", "Deployment", name, spec)


def service(name: str) -> Object:
    ports = [{"port": 80, "protocol": "TCP"}]
    return _object("v1", "Service", name, {"selector": {"app": name}, "ports": ports})


def stateful_set(name: str, pick: Randomness) -> Object:
    spec = {
        "replicas": pick.randint(1, 4), "selector": {"matchLabels": {"app": name}},
        "template": _template(name), "serviceName": name,
        "podManagementPolicy": pick.choice(["OrderedReady", "OrderedReady", "Parallel"]),
    }  # fmt: skip
    return _object("apps/v1", "StatefulSet", name, spec)


def daemon_limits(pick: Randomness) -> Object:
    return pick.choice(
        [
            {"maxUnavailable": 1, "maxSurge": 0},
            {"maxUnavailable": 2, "maxSurge": 0},
            {"maxUnavailable": 0, "maxSurge": 1},
        ]
    )


def daemon_set(pick: Randomness) -> Object:
    spec = {
        "selector": {"matchLabels": {"app": "agent"}}, "template": _template("agent"),
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": daemon_limits(pick)},
    }  # fmt: skip
    return _object("apps/v1", "DaemonSet", "agent", spec)


def _work(pick: Randomness) -> Object:
    """The template of pods that end after some seconds."""
    annotations = {
        "sim/run-s": str(pick.choice([0.5, 2, 5])),
        "sim/exit": pick.choice(["0", "0", "flaky", "1"]),
    }
    template = {"metadata": {"annotations": annotations}, "spec": _spec()}
    template["spec"]["restartPolicy"] = "Never"
    return template


def job(name: str, pick: Randomness) -> Object:
    spec = {
        "completions": pick.randint(1, 6), "parallelism": pick.randint(1, 4),
        "backoffLimit": pick.choice([0, 1, 3]), "template": _work(pick),
        "completionMode": pick.choice(["NonIndexed", "Indexed"]),
    }  # fmt: skip
    if pick.random() < 0.3:
        spec["ttlSecondsAfterFinished"] = pick.choice([0, 5])
    return _object("batch/v1", "Job", name, spec)


def cronjob(policy: str, pick: Randomness) -> Object:
    spec = {
        "schedule": "* * * * *", "concurrencyPolicy": policy,
        "jobTemplate": {"spec": job("", pick)["spec"]},
        "successfulJobsHistoryLimit": pick.choice([0, 1, 3]),
    }  # fmt: skip
    return _object("batch/v1", "CronJob", "tick", spec)


def budget(name: str, limits: Object) -> Object:
    spec = {"selector": {"matchLabels": {"app": name}}, **limits}
    return _object("policy/v1", "PodDisruptionBudget", name, spec)


def namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def config_map(name: str, owners: Sequence[Object] = (), blocking: bool = False) -> Object:
    references = [
        {
            "apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"], "blockOwnerDeletion": blocking,
        }
        for owner in owners
    ]  # fmt: skip
    metadata: Object = {"name": name, "namespace": "default"}
    if references:
        metadata["ownerReferences"] = references
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {}}
