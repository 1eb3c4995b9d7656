"""Plugins of admission that an administrator turns on and configures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_fixture import Authority, RunningApi
from webhook_fixture import WebhookServer

from cluster.apiserver.admission import namespace_tolerations

CORE = "/api/v1/namespaces"
GPU = {"key": "gpu", "operator": "Exists"}
SPOT = {"key": "spot", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}


class Outside:
    """A webhook server and the kubeconfigs by which an API server finds it and shows who it is."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder, "outside")
        self.server = WebhookServer(self.authority)
        self.folder = folder

    def kubeconfig(self, name: str, user: Any, user_name: str = "user") -> str:
        path = self.folder / name
        server = {"server": f"{self.server.url}/images", "certificate-authority": self.authority.ca}
        path.write_text(yaml.safe_dump({
            "clusters": [{"name": "c", "cluster": server}],
            "users": [{"name": user_name, "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": user_name}}],
            "current-context": "x",
        }))  # fmt: skip
        return str(path)


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    found = Outside(tmp_path_factory.mktemp("outside"))
    yield found
    found.server.close()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, outside: Outside) -> Iterator[RunningApi]:
    folder = tmp_path_factory.mktemp("api")
    port = outside.server.url.rpartition(":")[2]
    tls = outside.authority.issue("the-api-server")
    certificate = {"client-certificate": tls["cert"], "client-key": tls["key"]}
    limits = [
        {"type": "Namespace", "qps": 0.0001, "burst": 2},
        {"type": "SourceAndObject", "qps": 0.0001, "burst": 1, "cacheSize": 10},
    ]
    images = outside.kubeconfig("images", {"token": "of-images"})
    plugins = {
        "EventRateLimit": {"kind": "Configuration", "limits": limits},
        "ImagePolicyWebhook": {"imagePolicy": {"kubeConfigFile": images, "allowTTL": 3600}},
        "PodTolerationRestriction": {"kind": "Configuration", "default": [GPU]},
        "ValidatingAdmissionWebhook": {
            "kind": "WebhookAdmissionConfiguration",
            "kubeConfigFile": outside.kubeconfig("any", {"token": "secret"}, "*"),
        },
        "MutatingAdmissionWebhook": {
            "kind": "WebhookAdmissionConfiguration",
            "kubeConfigFile": outside.kubeconfig("this", certificate, f"127.0.0.1:{port}"),
        },
    }
    file = folder / "admission.yaml"
    file.write_text(yaml.safe_dump({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration",
        "plugins": [{"name": name, "configuration": each} for name, each in plugins.items()],
    }))  # fmt: skip
    outside.server.answers["images"] = lambda spec: {
        "allowed": all("evil" not in each["image"] for each in spec["containers"]),
        "reason": "it is evil",
    }
    running = RunningApi(
        folder,
        enable_admission_plugins=[
            "EventRateLimit", "ImagePolicyWebhook", "NamespaceAutoProvision", "NamespaceExists",
            "PodTolerationRestriction",
        ],
        admission_control_config_file=str(file),
    )  # fmt: skip
    yield running
    running.close()


def pod(name: str, image: str = "fine", requests: Any = None, **spec: Any) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "c", "image": image}
    if requests:
        container["resources"] = {"requests": requests}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}


def must(api: RunningApi, path: str, body: Any, code: int = 201) -> Any:
    found, answer = api.json("POST", path, body)
    assert found == code, answer
    return answer


def test_a_namespace_comes_with_the_first_object_in_it(api: RunningApi) -> None:
    settings = {"metadata": {"name": "settings"}}
    must(api, f"{CORE}/dry/configmaps?dryRun=All", settings, 404)
    assert api.json("GET", f"{CORE}/dry")[0] == 404
    must(api, f"{CORE}/fresh/configmaps", settings)
    assert api.json("GET", f"{CORE}/fresh")[1]["status"]["phase"] == "Active"
    must(api, f"{CORE}/fresh/secrets", {"metadata": {"name": "second"}})


def test_pods_tolerate_what_their_namespace_says(api: RunningApi) -> None:
    plain = must(api, f"{CORE}/default/pods", pod("plain"))["spec"]["tolerations"]
    assert GPU in plain
    memory = namespace_tolerations.MEMORY_PRESSURE
    assert memory not in plain
    asking = must(api, f"{CORE}/default/pods", pod("asking", requests={"cpu": "1"}))
    assert memory in asking["spec"]["tolerations"]
    annotations = {
        namespace_tolerations.DEFAULTS: json.dumps([SPOT]),
        namespace_tolerations.WHITELIST: json.dumps([SPOT, {"operator": "Exists", "key": "node"}]),
    }
    must(api, CORE, {"metadata": {"name": "spots", "annotations": annotations}})
    refused = must(api, f"{CORE}/spots/pods", pod("gpu", tolerations=[GPU]), 403)
    assert "conflict with its namespace whitelist" in refused["message"]
    annotations[namespace_tolerations.WHITELIST] = "[]"  # nothing of the configuration, either
    must(api, CORE, {"metadata": {"name": "open", "annotations": annotations}})
    found = must(api, f"{CORE}/open/pods", pod("both", tolerations=[GPU]))["spec"]["tolerations"]
    assert [each for each in found if each in (GPU, SPOT)] == [SPOT, GPU]
    annotations[namespace_tolerations.DEFAULTS] = "{}"
    must(api, CORE, {"metadata": {"name": "broken", "annotations": annotations}})
    refused = must(api, f"{CORE}/broken/pods", pod("any"), 403)
    assert "defaultTolerations: not a list of tolerations" in refused["message"]


@pytest.mark.parametrize(
    ("wider", "narrower", "covered"),
    [
        ({"operator": "Exists"}, SPOT, True),
        ({"key": "spot", "operator": "Exists"}, SPOT, True),
        (SPOT, {"key": "spot", "operator": "Exists"}, False),
        (SPOT, {**SPOT, "value": "no"}, False),
        ({**SPOT, "effect": ""}, SPOT, True),
        (SPOT, {**SPOT, "effect": ""}, False),
        (GPU, {**GPU, "tolerationSeconds": 5}, True),
        ({**GPU, "effect": "NoExecute", "tolerationSeconds": 9}, {**GPU, "effect": "NoExecute",
         "tolerationSeconds": 10}, False),
        ({**GPU, "effect": "NoExecute", "tolerationSeconds": 9}, {**GPU, "effect": "NoExecute"},
         False),
    ],
)  # fmt: skip
def test_one_toleration_covers_another(wider: Any, narrower: Any, covered: bool) -> None:
    assert namespace_tolerations.covers(wider, narrower) is covered


def event(name: str, about: str) -> dict[str, Any]:
    involved = {"kind": "Pod", "namespace": "events", "name": about}
    return {"metadata": {"name": name}, "involvedObject": involved, "source": {"component": "test"}}


def test_events_are_limited_by_namespace_and_by_object(api: RunningApi) -> None:
    path = f"{CORE}/events/events"
    must(api, path, event("one", "a"))
    refused = must(api, path, event("two", "a"), 429)
    assert "limit reached on type SourceAndObject for key ('test', ''" in refused["message"]
    refused = must(api, path, event("three", "b"), 429)  # what was refused counted, too
    assert refused["message"] == "limit reached on type Namespace for key events"


def test_a_server_outside_judges_images_and_is_asked_once(
    api: RunningApi, outside: Outside
) -> None:
    refused = must(api, f"{CORE}/default/pods", pod("bad", "evil/image"), 403)
    assert "denied one or more images: it is evil" in refused["message"]
    body = pod("good", "good/image")
    body["metadata"]["annotations"] = {"team.image-policy.k8s.io/ticket": "7", "other": "x"}
    must(api, f"{CORE}/default/pods", body)
    body["metadata"]["name"] = "good-too"
    must(api, f"{CORE}/default/pods", body)
    asked = [spec for spec in outside.server.reviews("images") if "good/image" in str(spec)]
    assert asked == [{
        "containers": [{"image": "good/image"}],
        "annotations": {"team.image-policy.k8s.io/ticket": "7"},
        "namespace": "default",
    }]  # fmt: skip
    assert ("Bearer of-images", "") in outside.server.callers


@pytest.mark.parametrize(
    ("kind", "shown"),
    [("validating", ("Bearer secret", "")), ("mutating", ("", "the-api-server"))],
)
def test_webhooks_are_shown_who_asks(
    api: RunningApi, outside: Outside, kind: str, shown: tuple[str, str]
) -> None:
    outside.server.answers[kind] = lambda _request: {"allowed": True}
    hook = {
        "name": f"{kind}.example.com", "clientConfig": outside.server.client_config(kind),
        "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                   "resources": ["secrets"]}],
    }  # fmt: skip
    group = f"/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations"
    must(api, group, {"metadata": {"name": kind}, "webhooks": [hook]})
    outside.server.callers.clear()
    number = 0
    while not outside.server.reviews(kind):  # until the server knows the webhook
        must(api, f"{CORE}/default/secrets", {"metadata": {"name": f"{kind}-{number}"}})
        number += 1
    api.raw("DELETE", f"{group}/{kind}")
    assert set(outside.server.callers) == {shown}


@pytest.mark.parametrize("name", ["EventRateLimit", "ImagePolicyWebhook"])
def test_a_plugin_that_needs_a_configuration_is_refused_without(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: the configuration has no"):
        RunningApi(tmp_path, enable_admission_plugins=[name])
