"""Which plugins of admission run, how they are configured, and those that are off by default."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_fixture import RunningApi

from cluster.apiserver.admission import node_selectors, selection

PODS = "/api/v1/namespaces/default/pods"
CONFIGURED = {"EventRateLimit", "ImagePolicyWebhook", "NamespaceAutoProvision"}
"""See test_configured_admission.py."""
OPTIONAL = [name for name in selection.OPTIONAL if name not in CONFIGURED]


def admission_file(folder: Path, *plugins: Any) -> str:
    path = folder / "admission.yaml"
    path.write_text(yaml.safe_dump({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration",
        "plugins": list(plugins),
    }))  # fmt: skip
    return str(path)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("api")
    selectors = {"clusterDefaultNodeSelector": "pool=common", "narrow": "pool=small"}
    (folder / "selectors.yaml").write_text(
        yaml.safe_dump({"podNodeSelectorPluginConfig": selectors})
    )
    config = {
        "enable_admission_plugins": OPTIONAL,
        "disable_admission_plugins": ["TaintNodesByCondition", "ResourceQuota", "LimitRanger"],
        "admission_control_config_file": admission_file(
            folder, {"name": "PodNodeSelector", "path": "selectors.yaml"}
        ),
    }
    running = RunningApi(folder, **config)
    yield running
    running.close()


def pod(name: str, image: str = "i", requests: Any = None, **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": image, "imagePullPolicy": "IfNotPresent"}
    if requests:
        container["resources"] = {"requests": requests, "limits": requests}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}


def must(api: Any, path: str, body: Any, code: int = 201) -> Any:
    found, answer = api.json("POST", path, body)
    assert found == code, answer
    return answer


def test_unknown_and_contradicting_names_are_refused() -> None:
    for flag in ("enable", "disable"):
        with pytest.raises(ValueError, match=f'{flag}-admission-plugins plugin "Nope" is unknown'):
            selection.read({f"{flag}_admission_plugins": ["Nope"]})
    both = {f"{flag}_admission_plugins": ["PodSecurity"] for flag in ("enable", "disable")}
    with pytest.raises(ValueError, match=r"\[PodSecurity\] in enable-admission-plugins and"):
        selection.read(both)


def test_a_configuration_is_read_in_place_or_beside_and_must_suit_its_plugin(
    tmp_path: Path,
) -> None:
    there = {"kind": "PodSecurityConfiguration", "defaults": {"enforce": "baseline"}}
    path = admission_file(tmp_path, {"name": "PodSecurity", "configuration": there})
    found = selection.read({"admission_control_config_file": path})
    assert found.of("PodSecurity")["defaults"] == {"enforce": "baseline"}
    path = admission_file(tmp_path, {"name": "Priority", "configuration": {}})
    with pytest.raises(ValueError, match='"Priority" takes no configuration'):
        selection.read({"admission_control_config_file": path})
    wrong = {"name": "PodSecurity", "configuration": {"kind": "Other"}}
    path = admission_file(tmp_path, wrong)
    with pytest.raises(ValueError, match="configured by a PodSecurityConfiguration"):
        selection.read({"admission_control_config_file": path})


def test_what_is_turned_off_does_nothing(api: Any) -> None:
    node = must(api, "/api/v1/nodes", {"metadata": {"name": "n"}})
    assert not (node.get("spec") or {}).get("taints")
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"count/secrets": "0"}}}
    must(api, "/api/v1/namespaces/default/resourcequotas", quota)
    must(api, "/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}})
    limits = [{"type": "Container", "max": {"cpu": "1m"}}]
    ranges = {"metadata": {"name": "r"}, "spec": {"limits": limits}}
    must(api, "/api/v1/namespaces/default/limitranges", ranges)
    must(api, PODS, pod("big", requests={"cpu": "2"}))


def test_images_are_always_pulled_and_special_hardware_is_tolerated(api: Any) -> None:
    spec = must(api, PODS, pod("gpu", requests={"example.com/gpu": "1"}))["spec"]
    assert spec["containers"][0]["imagePullPolicy"] == "Always"
    assert {"key": "example.com/gpu", "operator": "Exists"} in spec["tolerations"]


def test_a_pod_cannot_keep_others_out_of_a_zone(api: Any) -> None:
    term = {"topologyKey": "topology.kubernetes.io/zone", "labelSelector": {}}
    rule = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    answer = must(api, PODS, pod("greedy", affinity={"podAntiAffinity": rule}), 403)
    assert answer["message"].endswith(
        "has TopologyKey topology.kubernetes.io/zone but only key kubernetes.io/hostname is allowed"
    )


def test_services_take_no_addresses_from_outside(api: Any) -> None:
    spec = {"ports": [{"port": 80}], "externalIPs": ["192.0.2.1"]}
    path = "/api/v1/namespaces/default/services"
    answer = must(api, path, {"metadata": {"name": "s"}, "spec": spec}, 403)
    assert "Use of external IPs is denied by admission control." in answer["message"]


def test_the_pods_of_a_namespace_run_on_its_nodes(api: Any) -> None:
    annotations = {node_selectors.ANNOTATION: "pool=small, disk=ssd"}
    must(api, "/api/v1/namespaces", {"metadata": {"name": "own", "annotations": annotations}})
    made = must(api, "/api/v1/namespaces/own/pods", pod("a", nodeSelector={"x": "y"}))
    assert made["spec"]["nodeSelector"] == {"pool": "small", "disk": "ssd", "x": "y"}
    answer = must(api, "/api/v1/namespaces/own/pods", pod("b", nodeSelector={"disk": "hdd"}), 403)
    assert "conflicts with its namespace node label selector" in answer["message"]
    assert must(api, PODS, pod("plain"))["spec"]["nodeSelector"] == {"pool": "common"}
    narrow = {"metadata": {"name": "narrow", "annotations": {node_selectors.ANNOTATION: ""}}}
    must(api, "/api/v1/namespaces", narrow)
    answer = must(api, "/api/v1/namespaces/narrow/pods", pod("c", nodeSelector={"x": "y"}), 403)
    assert "labels conflict with its namespace whitelist" in answer["message"]


def test_who_changes_owners_must_be_allowed_to_delete(api: Any) -> None:
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "get", "update"]}]
    meta = {"name": "writer", "namespace": "default"}
    group = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
    must(api, f"{group}/roles", {"metadata": meta, "rules": rules})
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "writer"}
    subjects = [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}]
    must(api, f"{group}/rolebindings", {"metadata": meta, "roleRef": ref, "subjects": subjects})
    jane = api.authority.issue("jane")

    def put(method: str, path: str, references: list[Any]) -> tuple[int, Any]:
        body = {"metadata": {"name": "m", "ownerReferences": references}}
        sent = json.dumps(body).encode()
        json_type = {"Content-Type": "application/json"}
        code, _, answer = api.raw(
            method, f"/api/v1/namespaces/default/{path}", sent, json_type, jane
        )
        return code, json.loads(answer)

    owner = {"apiVersion": "v1", "kind": "Secret", "name": "s", "uid": "u"}
    blocking = {**owner, "blockOwnerDeletion": True}
    code, answer = put("POST", "configmaps", [blocking])
    assert code == 403
    assert "a resource you can't set finalizers on" in answer["message"]
    assert put("POST", "configmaps", [owner])[0] == 201
    code, answer = put("PUT", "configmaps/m", [])
    assert code == 403
    assert "cannot set an ownerRef on a resource you can't delete" in answer["message"]


def test_what_is_limited_needs_a_quota_that_covers_it(tmp_path: Path) -> None:
    scope = {"scopeName": "PriorityClass", "operator": "In", "values": ["gold"]}
    limited = [
        {"resource": "pods", "matchScopes": [scope]},
        {"resource": "persistentvolumeclaims", "matchContains": ["requests.storage"]},
    ]
    kind = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "ResourceQuotaConfiguration"}
    entry = {"name": "ResourceQuota", "configuration": {**kind, "limitedResources": limited}}
    path = admission_file(tmp_path, entry)
    api = RunningApi(tmp_path, admission_control_config_file=path)
    try:
        body = {"metadata": {"name": "gold"}, "value": 7}
        must(api, "/apis/scheduling.k8s.io/v1/priorityclasses", body)
        must(api, PODS, pod("plain"))
        answer = must(api, PODS, pod("rich", priorityClassName="gold"), 403)
        assert answer["message"].endswith(
            "insufficient quota to match these scopes: [{PriorityClass In [gold]}]"
        )
        spec = {"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [scope]}}
        quotas = "/api/v1/namespaces/default/resourcequotas"
        must(api, quotas, {"metadata": {"name": "gold"}, "spec": spec})
        must(api, PODS, pod("rich", priorityClassName="gold"))
        claims = "/api/v1/namespaces/default/persistentvolumeclaims"
        resources = {"requests": {"storage": "1Gi"}}
        claim = {"accessModes": ["ReadWriteOnce"], "resources": resources}
        claim = {"metadata": {"name": "c"}, "spec": claim}
        answer = must(api, claims, claim, 403)
        assert "insufficient quota to consume: requests.storage" in answer["message"]
        spec = {"hard": {"requests.storage": "2Gi"}}
        must(api, quotas, {"metadata": {"name": "space"}, "spec": spec})
        must(api, claims, claim)
    finally:
        api.close()
