"""Another API server behind ours, in a process of its own, used with the real kubectl."""

from __future__ import annotations

import base64
import importlib.util
import json
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_spec = importlib.util.spec_from_file_location(
    "api_fixture", Path(__file__).parents[1] / "unit/apiserver/api_fixture.py"
)
assert _spec is not None
assert _spec.loader is not None
api_fixture = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(api_fixture)

pytestmark = pytest.mark.skipif(api_fixture.KUBECTL is None, reason="kubectl is not on PATH")

PROGRAM = Path(__file__).parent / "extensions/flunders.py"
NAME = "v1alpha1.wardle.example.com"
ROOT = "/apis/wardle.example.com/v1alpha1"
FLUNDERS = f"{ROOT}/namespaces/default/flunders"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def until(holds: Callable[[], Any], what: str = "") -> Any:
    """The other server is another process: all that can be done is to look."""
    end_s = time.monotonic() + 30
    while not (found := holds()):
        assert time.monotonic() < end_s, what or holds
        time.sleep(0.05)
    return found


class Extension:
    """The other API server, and what registers it with ours."""

    def __init__(self, api: Any, folder: Path, openapi: str = "v3") -> None:
        self.api, self.folder = api, folder
        self.tls = api.authority.issue("flunders", server=True, dns="flunders.default.svc")
        self.client = api.authority.issue("system:flunders")
        self._config = folder / "flunders.json"
        self.port = 0
        self.openapi = openapi
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """On the same port as before, if there was one."""
        config = {
            "port": self.port,
            "cert": self.tls["cert"],
            "key": self.tls["key"],
            "api": f"https://127.0.0.1:{self.api.port}",
            "client": self.client,
            "openapi": self.openapi,
        }
        self._config.write_text(json.dumps(config))
        command = [sys.executable, str(PROGRAM), str(self._config)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def permit(self) -> None:
        """What the extension itself needs: to read how to authenticate, and to ask."""
        user = "--user=system:flunders"
        reader = "--role=extension-apiserver-authentication-reader"
        self.api.kubectl("create", "rolebinding", "flunders", "-n", "kube-system", reader, user)
        delegator = "--clusterrole=system:auth-delegator"
        self.api.kubectl("create", "clusterrolebinding", "flunders", delegator, user)

    def register(self, **spec: Any) -> None:
        ca = base64.b64encode(Path(self.api.authority.ca).read_bytes()).decode()
        service = {"namespace": "default", "name": "flunders", "port": 443}
        wanted = {
            "group": "wardle.example.com",
            "version": "v1alpha1",
            "caBundle": ca,
            "groupPriorityMinimum": 2000,
            "versionPriority": 15,
            "service": service,
        }
        self.api.kubectl("apply", "-f", "-", stdin=json.dumps(api_service(NAME, wanted | spec)))

    def publish(self, name: str = "flunders") -> None:
        """A Service without a selector, and where it leads."""
        port = {"name": "https", "port": 443, "targetPort": self.port}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                   "spec": {"ports": [port]}}  # fmt: skip
        labels = {"kubernetes.io/service-name": name}
        found = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"{name}-1", "labels": labels},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.1"]}],
            "ports": [{"name": "https", "port": self.port}],
        }
        for obj in (service, found):
            self.api.kubectl("apply", "-f", "-", stdin=json.dumps(obj))

    def condition(self) -> tuple[str, str]:
        """(status, reason) of Available."""
        state = self.api.get("apiservice", NAME).get("status") or {}
        found = next(iter(state.get("conditions") or ()), {})
        return found.get("status", ""), found.get("reason", "")

    def until_available(self) -> None:
        until(lambda: self.condition() == ("True", "Passed"), "the extension is not available")
        until(lambda: self.api.raw("GET", ROOT)[0] == 200)


def api_service(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": name}, "spec": spec}  # fmt: skip


def flunder(name: str, size: int = 1) -> str:
    obj = {"apiVersion": "wardle.example.com/v1alpha1", "kind": "Flunder",
           "metadata": {"name": name}, "spec": {"size": size}}  # fmt: skip
    return json.dumps(obj)


def new_api(folder: Path) -> Any:
    front_folder = folder / "front"
    front_folder.mkdir()
    front = api_fixture.Authority(front_folder, "front-proxy-ca")
    proxy = front.issue("front-proxy-client")
    api = api_fixture.RunningApi(
        folder,
        request_header={"ca": front.ca, "allowed_names": ["front-proxy-client"]},
        proxy_client={"cert": proxy["cert"], "key": proxy["key"]},
    )
    api.proxy = proxy
    return api


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    running = new_api(tmp_path_factory.mktemp("aggregation"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def extension(api: Any) -> Iterator[Extension]:
    """Registered and available."""
    found = Extension(api, api.folder)
    found.permit()
    found.register()
    assert until(lambda: found.condition()[0] and found.condition()) == ("False", "ServiceNotFound")
    found.start()
    found.publish()
    found.until_available()
    yield found
    found.stop()


# -- what is served here ----------------------------------------------------------------------


def test_what_is_built_in_has_apiservices_that_are_always_available(api: Any) -> None:
    listed = {o["metadata"]["name"]: o for o in api.get("apiservices")["items"]}
    assert {"v1.", "v1.apps", "v2.autoscaling", "v1.rbac.authorization.k8s.io"} <= listed.keys()
    assert "v1.apiregistration.k8s.io" not in listed
    apps = listed["v1.apps"]
    label = {"kube-aggregator.kubernetes.io/automanaged": "onstart"}
    assert apps["metadata"]["labels"] == label
    assert (apps["spec"]["groupPriorityMinimum"], apps["spec"]["versionPriority"]) == (17800, 15)
    condition = apps["status"]["conditions"][0]
    assert (condition["type"], condition["status"], condition["reason"]) == (
        "Available", "True", "Local",
    )  # fmt: skip
    shown = api.kubectl("get", "apiservice", "v1.apps")
    assert shown.split()[:4] == ["NAME", "SERVICE", "AVAILABLE", "AGE"]
    assert shown.splitlines()[1].split()[:3] == ["v1.apps", "Local", "True"]


def test_groups_come_in_the_order_of_their_priorities(api: Any) -> None:
    groups = [g["name"] for g in api.json("GET", "/apis")[1]["groups"]]
    assert groups[:3] == ["apiregistration.k8s.io", "apps", "events.k8s.io"]
    autoscaling = api.json("GET", "/apis/autoscaling")[1]
    assert autoscaling["preferredVersion"]["version"] == "v2"


def test_the_apiservices_of_custom_resources_come_and_go_with_them(api: Any) -> None:
    version = {"name": "v1", "served": True, "storage": True,
               "schema": {"openAPIV3Schema": {"type": "object"}}}  # fmt: skip
    names = {"plural": "widgets", "kind": "Widget"}
    spec = {"group": "stable.example.com", "scope": "Namespaced", "names": names,
            "versions": [version]}  # fmt: skip
    crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
           "metadata": {"name": "widgets.stable.example.com"}, "spec": spec}  # fmt: skip
    api.kubectl("apply", "-f", "-", stdin=json.dumps(crd))

    def found() -> str:
        return str(
            api.kubectl("get", "apiservice", "v1.stable.example.com", "--ignore-not-found",
                        "-o", "jsonpath={.metadata.labels}{.spec.groupPriorityMinimum}")
        )  # fmt: skip

    assert until(found) == '{"kube-aggregator.kubernetes.io/automanaged":"true"}1000'
    api.kubectl("delete", "crd", "widgets.stable.example.com")
    until(lambda: not found())


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("wrong", {}, 'must be `spec.version+"."+spec.group`: "v1.bad.example.com"'),
        ("v1.bad.example.com", {"versionPriority": 1001}, "must be positive and less than 1000"),
        ("v1.bad.example.com", {"groupPriorityMinimum": 0}, "must be positive and less than 20000"),
        ("v1.bad.example.com", {"insecureSkipTLSVerify": True},
         "local APIServices may not have insecureSkipTLSVerify"),
        ("v1.bad.example.com", {"caBundle": "YWJj"},
         'Invalid value: "3 bytes": local APIServices may not have a caBundle'),
        ("v1.bad.example.com", {"service": {"namespace": "a"}},
         "spec.service.name: Required value"),
        ("v1.bad.example.com", {"service": {"namespace": "a", "name": "b", "port": 70000}},
         "port is not valid: must be between 1 and 65535, inclusive"),
        ("v1.bad.example.com", {"service": {"namespace": "a", "name": "b"}, "caBundle": "YWJj",
                                "insecureSkipTLSVerify": True},
         "may not be true if caBundle is present"),
        ("v2.", {"group": "", "version": "v2"},
         "only v1 may have an empty group and it better be legacy kube"),
    ],
)  # fmt: skip
def test_an_apiservice_that_makes_no_sense_is_refused(
    api: Any, name: str, changes: dict[str, Any], message: str
) -> None:
    spec = {"group": "bad.example.com", "version": "v1", "groupPriorityMinimum": 1000,
            "versionPriority": 15}  # fmt: skip
    obj = api_service(name, spec | changes)
    code, answer = api.json("POST", "/apis/apiregistration.k8s.io/v1/apiservices", obj)
    assert code == 422
    assert message in answer["message"]


def test_other_servers_can_read_how_to_authenticate(api: Any) -> None:
    found = api.get("configmap", "-n", "kube-system", "extension-apiserver-authentication")["data"]
    assert "BEGIN CERTIFICATE" in found["client-ca-file"]
    assert "BEGIN CERTIFICATE" in found["requestheader-client-ca-file"]
    assert found["requestheader-allowed-names"] == '["front-proxy-client"]'
    assert found["requestheader-username-headers"] == '["X-Remote-User"]'
    assert found["requestheader-extra-headers-prefix"] == '["X-Remote-Extra-"]'


def test_a_front_proxy_before_this_server_is_believed(api: Any) -> None:
    review = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    headers = {"Content-Type": "application/json", "X-Remote-User": "ann",
               "X-Remote-Group": "staff", "X-Remote-Extra-Scopes": "read"}  # fmt: skip
    proxy = {**api.proxy, "ca": api.authority.ca}
    code, _, body = api.raw("POST", path, json.dumps(review).encode(), headers, user=proxy)
    assert code == 201
    info = json.loads(body)["status"]["userInfo"]
    assert (info["username"], info["extra"]) == ("ann", {"scopes": ["read"]})
    assert "staff" in info["groups"]
    code, _, body = api.raw("POST", path, json.dumps(review).encode(), headers)
    assert json.loads(body)["status"]["userInfo"]["username"] == "admin"


# -- what another server serves ---------------------------------------------------------------


def test_kubectl_creates_reads_and_deletes_objects_of_the_extension(
    api: Any, extension: Extension
) -> None:
    assert "flunder.wardle.example.com/one created" in api.kubectl(
        "create", "-f", "-", stdin=flunder("one", 3)
    )
    obj = api.get("flunder", "one")
    assert (obj["spec"]["size"], obj["spec"]["createdBy"]) == (3, "admin")
    assert "one" in api.kubectl("get", "fl")
    assert "AlreadyExists" in api.kubectl("create", "-f", "-", stdin=flunder("one"), ok=False)
    api.kubectl("delete", "flunder", "one")
    assert "NotFound" in api.kubectl("get", "flunder", "one", ok=False)


def test_its_resources_are_discovered_and_explained(api: Any, extension: Extension) -> None:
    listed = api.kubectl("api-resources", "--api-group=wardle.example.com")
    assert listed.splitlines()[1].split() == [
        "flunders", "fl", "wardle.example.com/v1alpha1", "true", "Flunder",
    ]  # fmt: skip
    explained = api.kubectl("explain", "flunders.spec.size")
    assert "In barleycorns." in explained
    groups = [g["name"] for g in api.json("GET", "/apis")[1]["groups"]]
    assert groups.index("wardle.example.com") > groups.index("resource.k8s.io")
    code, version = api.json("GET", "/apis/wardle.example.com")
    assert (code, version["preferredVersion"]["version"]) == (200, "v1alpha1")
    assert freshness(api) == "Current"
    assert "com.example.wardle.v1alpha1.Flunder" in api.json("GET", "/openapi/v2")[1]["definitions"]
    assert api.raw("GET", f"/openapi/v3{ROOT}")[0] == 200


def freshness(api: Any) -> str:
    _, _, body = api.raw("GET", "/apis", headers={"Accept": AGGREGATED})
    items = json.loads(body)["items"]
    group = next(g for g in items if g["metadata"]["name"] == "wardle.example.com")
    assert [r["resource"] for r in group["versions"][0]["resources"]] == ["flunders"]
    return str(group["versions"][0]["freshness"])


def test_a_watch_streams_and_ends_with_the_client(api: Any, extension: Extension) -> None:
    watching = subprocess.Popen(
        api.command("get", "flunders", "--watch", "-o", "name"), stdout=subprocess.PIPE, text=True
    )
    assert watching.stdout is not None
    until(lambda: seen(api, extension)["watching"])
    api.kubectl("create", "-f", "-", stdin=flunder("watched"))
    assert watching.stdout.readline().strip() == "flunder.wardle.example.com/watched"
    watching.kill()
    watching.wait(10)
    watching.stdout.close()
    until(lambda: not seen(api, extension)["watching"], "the watch goes on without its client")


def test_another_protocol_is_passed_on_both_ways(api: Any, extension: Extension) -> None:
    tls = ssl.create_default_context(cafile=api.authority.ca)
    tls.load_cert_chain(api.admin["cert"], api.admin["key"])
    plain = socket.create_connection(("127.0.0.1", api.port), timeout=20)
    with tls.wrap_socket(plain, server_hostname="127.0.0.1") as link:
        head = f"GET {FLUNDERS}/one/echo HTTP/1.1\r\nHost: api\r\n"
        link.sendall(f"{head}Connection: Upgrade\r\nUpgrade: echo\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += link.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"upgrade: echo" in answer.lower()
        sent, back = b"x" * 300_000, b""
        link.sendall(sent)
        while len(back) < len(sent):
            back += link.recv(65536)
        assert back == sent


def seen(api: Any, extension: Extension) -> Any:
    """What the other server has noticed; asked with the front proxy's certificate."""
    context = ssl.create_default_context(cafile=api.authority.ca)
    context.check_hostname = False
    context.load_cert_chain(api.proxy["cert"], api.proxy["key"])
    url = f"https://127.0.0.1:{extension.port}/seen"
    request = urllib.request.Request(url, headers={"X-Remote-User": "test"})
    with urllib.request.urlopen(request, context=context, timeout=10) as answer:
        return json.loads(answer.read())


def test_roles_count_here_before_anything_is_sent_on(api: Any, extension: Extension) -> None:
    mary = api.kubeconfig_for("mary", ["staff"])
    refused = api.kubectl("get", "flunders", kubeconfig=mary, ok=False)
    assert 'User "mary" cannot list resource "flunders" in API group "wardle.exa' in refused
    role = ["--verb=list,get", "--resource=flunders.wardle.example.com"]
    api.kubectl("create", "role", "flunders", *role)
    api.kubectl("create", "rolebinding", "flunders", "--role=flunders", "--user=mary")
    until(lambda: "Forbidden" not in said(api, "get", "flunders", kubeconfig=mary))
    headers = {k.lower(): v for k, v in seen(api, extension)["headers"].items()}
    assert headers["x-remote-user"] == "mary"
    assert headers["x-forwarded-proto"] == "https"
    assert "authorization" not in headers


def said(api: Any, *arguments: str, kubeconfig: str) -> str:
    """What kubectl says, whether it succeeds or not."""
    command = api.command(*arguments, kubeconfig=kubeconfig)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_who_a_client_says_that_it_is_does_not_reach_the_extension(
    api: Any, extension: Extension
) -> None:
    headers = {"X-Remote-User": "god", "X-Remote-Group": "system:masters", "X-Remote-Uid": "0"}
    code, answered, _ = api.raw("GET", FLUNDERS, headers=headers)
    assert code == 200
    told = {k.lower(): v for k, v in seen(api, extension)["headers"].items()}
    assert told["x-remote-user"] == "admin"
    assert "x-remote-uid" not in told
    assert answered["warning"] == '299 - "flunders are experimental"'


def test_a_server_that_is_gone_is_unavailable_and_comes_back(
    api: Any, extension: Extension
) -> None:
    extension.stop()
    # Something of the Service changes: nobody waits for the next regular check.
    api.kubectl("annotate", "endpointslice", "flunders-1", "example.com/touched=1")
    until(lambda: extension.condition() == ("False", "FailedDiscoveryCheck"))
    code, _, body = api.raw("GET", FLUNDERS)
    assert (code, body) == (503, b"service unavailable\n")
    text = api.kubectl("get", "--raw", FLUNDERS, ok=False)
    assert "the server is currently unable to handle the request" in text
    assert until(lambda: freshness(api) == "Stale")
    assert "default" in api.kubectl("get", "namespaces")
    shown = api.kubectl("get", "apiservice", NAME).splitlines()[1].split()
    assert shown[1:4] == ["default/flunders", "False", "(FailedDiscoveryCheck)"]
    extension.start()
    extension.until_available()
    assert until(lambda: freshness(api) == "Current")
    assert api.json("GET", FLUNDERS)[1]["items"] == []


def test_a_server_without_endpoints_or_the_right_port_is_unavailable(
    api: Any, extension: Extension
) -> None:
    slice_ = api.get("endpointslice", "flunders-1")
    api.kubectl("delete", "endpointslice", "flunders-1")
    until(lambda: extension.condition() == ("False", "EndpointsNotFound"))
    slice_["endpoints"][0]["conditions"] = {"ready": False}
    for name in ("resourceVersion", "uid"):
        del slice_["metadata"][name]
    api.kubectl("create", "-f", "-", stdin=json.dumps(slice_))
    until(lambda: extension.condition() == ("False", "MissingEndpoints"))
    patch = {"spec": {"service": {"port": 8443}}}
    api.kubectl("patch", "apiservice", NAME, "--type=merge", "-p", json.dumps(patch))
    until(lambda: extension.condition() == ("False", "ServicePortError"))
    extension.register()
    extension.publish()
    extension.until_available()


def test_a_certificate_must_be_of_the_authority_that_is_named(
    api: Any, extension: Extension, tmp_path: Path
) -> None:
    stranger = api_fixture.Authority(tmp_path, "stranger-ca")
    bundle = base64.b64encode(Path(stranger.ca).read_bytes()).decode()
    extension.register(caBundle=bundle)
    until(lambda: extension.condition() == ("False", "FailedDiscoveryCheck"))
    state = api.get("apiservice", NAME)["status"]["conditions"][0]
    assert "failed to verify certificate" in state["message"]
    extension.register(caBundle=None, insecureSkipTLSVerify=True)
    extension.until_available()
    extension.register(insecureSkipTLSVerify=False)
    extension.until_available()


def test_a_server_that_has_only_openapi_2_is_explained_too(api: Any, extension: Extension) -> None:
    extension.stop()
    extension.openapi = "v2"
    extension.start()
    try:
        extension.until_available()
        # What a server says is kept for a while; another Service is another server.
        extension.publish("flunders-2")
        service = {"namespace": "default", "name": "flunders-2", "port": 443}
        extension.register(service=service, caBundle=None, insecureSkipTLSVerify=True)
        extension.until_available()
        assert "In barleycorns." in api.kubectl("explain", "flunders.spec.size")
        document = api.json("GET", f"/openapi/v3{ROOT}")[1]
        assert list(document["components"]["schemas"]) == ["com.example.wardle.v1alpha1.Flunder"]
    finally:
        extension.stop()
        extension.openapi = "v3"
        extension.start()
        extension.register(insecureSkipTLSVerify=False)
        extension.until_available()


def test_what_is_withdrawn_is_gone(api: Any, extension: Extension) -> None:
    api.kubectl("delete", "apiservice", NAME)
    until(lambda: api.raw("GET", ROOT)[0] == 404)
    assert "wardle.example.com" not in [
        g["name"] for g in api.json("GET", "/apis")[1]["groups"]
    ]  # fmt: skip
    extension.register()
    extension.until_available()


@pytest.mark.parametrize(
    ("path", "name", "hashed"),
    [
        ("/api/v1", "pods", "xPOwRZ+Yhw8="),
        ("/apis/apps/v1", "deployments", "8aSe+NMegvE="),
        ("/apis/events.k8s.io/v1", "events", "r2yiGXH7wu8="),  # stored as those of the core group
    ],
)
def test_discovery_tells_in_which_version_objects_are_stored(
    api: Any, path: str, name: str, hashed: str
) -> None:
    """The hashes are those that a kube-apiserver gives."""
    listed = {r["name"]: r for r in api.json("GET", path)[1]["resources"]}
    assert listed[name]["storageVersionHash"] == hashed
    assert all("storageVersionHash" not in r for n, r in listed.items() if "/" in n)
