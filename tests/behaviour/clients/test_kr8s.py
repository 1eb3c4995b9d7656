"""kr8s, unmodified: its synchronous and its asynchronous side."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

kr8s = pytest.importorskip("kr8s")
from kr8s.asyncio.objects import ConfigMap as AsyncConfigMap  # noqa: E402
from kr8s.objects import ConfigMap, Deployment, Pod, Service, new_class  # noqa: E402

DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.kr8s.example.com"},
    "spec": {
        "group": "kr8s.example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [{
            "name": "v1", "served": True, "storage": True,
            "schema": {"openAPIV3Schema": {"type": "object",
                                           "x-kubernetes-preserve-unknown-fields": True}},
        }],
    },
}  # fmt: skip


@pytest.fixture
def api(cluster: Any, namespace: str) -> Any:
    return kr8s.api(kubeconfig=cluster.kubeconfig, namespace=namespace)


def config(name: str, api: Any, **data: str) -> Any:
    return ConfigMap({"metadata": {"name": name}, "data": data}, api=api)


def deployment(name: str, api: Any) -> Any:
    spec = {
        "replicas": 1, "selector": {"matchLabels": {"a": name}},
        "template": {"metadata": {"labels": {"a": name}},
                     "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }  # fmt: skip
    return Deployment({"metadata": {"name": name}, "spec": spec}, api=api)


def test_objects_are_made_changed_and_deleted(api: Any) -> None:
    made = config("c", api, a="1")
    made.create()
    assert made.exists()
    made.patch({"data": {"b": "2"}})
    assert dict(made.data) == {"a": "1", "b": "2"}
    made.patch([{"op": "remove", "path": "/data/a"}], type="json")
    made.label(own="1")
    made.annotate(note="x")
    found = ConfigMap.get("c", api=api)
    assert (found.labels["own"], found.annotations["note"]) == ("1", "x")
    made.remove_label("own")
    assert "own" not in ConfigMap.get("c", api=api).labels
    listed = [each.name for each in api.get("configmaps", field_selector="metadata.name=c")]
    assert listed == ["c"]
    made.delete()
    with pytest.raises(kr8s.NotFoundError):
        made.refresh()


def test_workloads_are_scaled_and_waited_for(api: Any) -> None:
    web = deployment("web", api)
    web.create()
    web.wait("condition=Available", timeout=30)
    web.scale(3)
    assert web.replicas == 3
    web.wait("jsonpath='{.status.readyReplicas}'=3", timeout=30)
    pods = list(web.pods())
    assert len(pods) == 3
    assert all(isinstance(pod, Pod) for pod in pods)
    spec = {"selector": {"a": "web"}, "ports": [{"port": 80}]}
    service = Service({"metadata": {"name": "web"}, "spec": spec}, api=api)
    service.create()
    assert service.spec.clusterIP
    assert service.status.loadBalancer == {}
    web.delete()
    web.wait("delete", timeout=30)


def test_what_the_server_serves(api: Any) -> None:
    assert api.version()["minor"] == "34"
    assert api.whoami() == "admin"
    assert "apps/v1" in list(api.api_versions())
    kinds = {each["kind"] for each in api.api_resources()}
    assert {"Pod", "Deployment", "Lease"} <= kinds
    assert api.lookup_kind("deploy")[1] == "deployments"


def test_custom_resources_are_objects_too(api: Any, kubectl: Any) -> None:
    kubectl("apply", "-f", "-", stdin=json.dumps(DEFINITION))
    kubectl.until("crd/widgets.kr8s.example.com", "--for=condition=Established")
    widgets = new_class(kind="Widget", version="kr8s.example.com/v1", namespaced=True)
    made = widgets({"metadata": {"name": "w"}, "spec": {"size": 1}}, api=api)
    made.create()
    made.patch({"spec": {"size": 2}})
    assert [each.spec.size for each in api.get("widgets.kr8s.example.com")] == [2]
    child = config("child", api)
    child.create()
    made.adopt(child)
    assert ConfigMap.get("child", api=api).metadata.ownerReferences[0].kind == "Widget"
    made.delete()


def test_the_asynchronous_side_watches(cluster: Any, namespace: str) -> None:
    async def scenario() -> list[tuple[str, str]]:
        api = await kr8s.asyncio.api(kubeconfig=cluster.kubeconfig, namespace=namespace)
        seen: list[tuple[str, str]] = []

        async def follow() -> None:
            async for event, obj in api.watch("configmaps", label_selector="seen"):
                seen.append((event, obj.name))
                if event == "DELETED":
                    return

        following = asyncio.create_task(follow())
        resource = {"metadata": {"name": "a", "labels": {"seen": "1"}}}
        made = await AsyncConfigMap(resource, api=api)
        await made.create()
        while not seen:
            await asyncio.sleep(0.02)
        await made.patch({"data": {"a": "1"}})
        await made.delete()
        async with asyncio.timeout(30):
            await following
        return seen

    seen = asyncio.run(scenario())
    assert seen == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
