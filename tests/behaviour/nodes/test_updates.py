"""Volumes follow the objects that they are made from while the pod runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from suite.plane import eventually
from suite.printed import configmap, secret
from suite.rows import real, shows
from suite.runtimes import Node

Object = dict[str, Any]

OLD, NEW = {"data": "value-1"}, {"data": "value-2"}


def _labels(kind: str) -> Object:
    path = f"metadata.{kind}['word']"
    return {"downwardAPI": {"items": [{"path": "word", "fieldRef": {"fieldPath": path}}]}}


def _sources() -> dict[str, Object]:
    return {
        "configmap": {"configMap": {"name": "live"}},
        "secret": {"secret": {"secretName": "live"}},
        "labels": _labels("labels"),
        "annotations": _labels("annotations"),
        "later-configmap": {"configMap": {"name": "later", "optional": True}},
        "later-secret": {"secret": {"secretName": "later", "optional": True}},
        "gone-configmap": {"configMap": {"name": "gone", "optional": True}},
        "gone-secret": {"secret": {"secretName": "gone", "optional": True}},
    }


def _projected(source: Object) -> Object:
    ((kind, said),) = source.items()
    names = {"secretName": "name"}
    return {"projected": {"sources": [{kind: {names.get(k, k): v for k, v in said.items()}}]}}


def objects_of(node: Node) -> list[Object]:
    objects = [configmap("live", OLD), secret("live", OLD)]
    objects += [configmap("gone", OLD), secret("gone", OLD)]
    if node.runtime == "simulated":
        return [*objects, node.pod("live", {"name": "main"})]
    plain = _sources()
    volumes = {**plain, **{f"p-{n}": _projected(source) for n, source in plain.items()}}
    mounts = [{"name": n, "mountPath": f"/{n}"} for n in volumes]
    main = {
        "name": "main",
        "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"],
        "volumeMounts": mounts,
    }
    metadata = {"labels": {"word": "value-1"}, "annotations": {"word": "value-1"}}
    named = [{"name": n, **source} for n, source in volumes.items()]
    return [*objects, node.pod("live", main, metadata=metadata, volumes=named)]


def holds(pods: Node, path: str, text: str) -> Callable[[], bool]:
    read = f'cat "$RAYKUBE_MOUNTS/{path}" 2>/dev/null || true'
    return lambda: pods.shell("live", read) == text


def follows(pods: Node, folder: str, file: str = "data") -> None:
    eventually(holds(pods, f"{folder}/{file}", "value-2"))


@pytest.fixture(scope="module")
def changed(pods: Node) -> Node:
    """Once the pod has shown what was there before, everything is changed."""
    running = ("wait", "--for=jsonpath={.status.phase}=Running", "pod/live", "--timeout=120s")
    pods.kubectl(*running)
    for folder, file in (("configmap", "data"), ("p-secret", "data"), ("p-labels", "word")):
        eventually(holds(pods, f"{folder}/{file}", "value-1"))
    pods.apply(configmap("live", NEW), secret("live", NEW))
    pods.apply(configmap("later", NEW), secret("later", NEW))
    pods.kubectl("delete", "configmap/gone", "secret/gone")
    for verb in ("label", "annotate"):
        pods.kubectl(verb, "pod", "live", "word=value-2", "--overwrite")
    return pods


ROWS = {
    "configmap": "[sig-storage] ConfigMap updates should be reflected in volume",
    "p-configmap": "[sig-storage] Projected configMap updates should be reflected in volume",
    "secret": "[sig-storage] Secret updates are reflected in volume",
    "p-secret": "[sig-storage] Projected secret updates are reflected in volume",
}


@pytest.mark.parametrize(
    "folder", [pytest.param(folder, marks=real(row)) for folder, row in ROWS.items()]
)
def test_a_volume_follows_its_object(changed: Node, folder: str) -> None:
    follows(changed, folder)


DOWNWARD = "should update {} on modification"
ITEMS = {
    "labels": f"[sig-storage] Downward API volume {DOWNWARD.format('labels')}",
    "annotations": f"[sig-storage] Downward API volume {DOWNWARD.format('annotations')}",
    "p-labels": f"[sig-storage] Projected downwardAPI {DOWNWARD.format('labels')}",
    "p-annotations": f"[sig-storage] Projected downwardAPI {DOWNWARD.format('annotations')}",
}


@pytest.mark.parametrize(
    "folder", [pytest.param(folder, marks=real(row)) for folder, row in ITEMS.items()]
)
def test_a_volume_follows_the_pod_itself(changed: Node, folder: str) -> None:
    follows(changed, folder, "word")


OPTIONAL = {
    "configmap": "[sig-storage] ConfigMap optional updates should be reflected in volume",
    "secret": "[sig-storage] Secrets optional updates should be reflected in volume",
}
PROJECTED = {
    "configmap": "[sig-storage] Projected configMap optional updates should be reflected in volume",
    "secret": "[sig-storage] Projected secret optional updates should be reflected in volume",
}


@pytest.mark.parametrize(
    ("prefix", "kind"),
    [
        *(pytest.param("", kind, marks=real(row)) for kind, row in OPTIONAL.items()),
        *(pytest.param("p-", kind, marks=real(row)) for kind, row in PROJECTED.items()),
    ],
)
def test_an_optional_object_may_come_and_go(changed: Node, prefix: str, kind: str) -> None:
    follows(changed, f"{prefix}later-{kind}")
    eventually(holds(changed, f"{prefix}gone-{kind}/data", ""))


@shows("[sig-node] Pods should be updated")
def test_a_change_of_labels_reaches_the_running_pod(pods: Node) -> None:
    pods.until("live", lambda pod: pod["status"].get("phase") == "Running")
    pods.kubectl("label", "pod", "live", "time=value", "--overwrite")
    selected = pods.kubectl("get", "pods", "-l", "time=value", "-o", "name")
    assert selected == "pod/live\n"
    assert pods.read("live")["status"]["phase"] == "Running"
