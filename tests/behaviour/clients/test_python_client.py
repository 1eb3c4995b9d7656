"""The official Python client, unmodified: typed, dynamic, watches, informers, leader election."""

from __future__ import annotations

import datetime
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

kubernetes = pytest.importorskip("kubernetes")
from kubernetes import client, dynamic, utils, watch  # noqa: E402
from kubernetes.client import ApiException  # noqa: E402


@pytest.fixture(scope="module")
def connection(cluster: Any) -> Iterator[Any]:
    with kubernetes.config.new_client_from_config(cluster.kubeconfig) as found:
        yield found


def until(holds: Callable[[], Any], what: str, timeout_s: float = 30) -> Any:
    end_s = time.monotonic() + timeout_s
    while not (found := holds()):
        assert time.monotonic() < end_s, what
        time.sleep(0.05)
    return found


def named(name: str, **more: Any) -> Any:
    return client.V1ObjectMeta(name=name, **more)


def pod_spec(image: str = "i") -> Any:
    return client.V1PodSpec(containers=[client.V1Container(name="c", image=image)])


def test_typed_objects_of_many_groups(connection: Any, namespace: str) -> None:
    core = client.CoreV1Api(connection)
    made = core.create_namespaced_config_map(
        namespace, client.V1ConfigMap(metadata=named("c", labels={"a": "b"}), data={"k": "v"})
    )
    assert isinstance(made.metadata.creation_timestamp, datetime.datetime)
    made.data["k"] = "w"
    replaced = core.replace_namespaced_config_map("c", namespace, made)
    assert replaced.metadata.resource_version != made.metadata.resource_version
    with pytest.raises(ApiException) as conflict:
        core.replace_namespaced_config_map("c", namespace, made)
    assert (conflict.value.status, conflict.value.reason) == (409, "Conflict")
    with pytest.raises(ApiException) as missing:
        core.read_namespaced_pod("none", namespace)
    assert missing.value.status == 404
    listed = core.list_namespaced_config_map(namespace, label_selector="a=b")
    assert [item.metadata.name for item in listed.items] == ["c"]
    template = client.V1PodTemplateSpec(metadata=named(None, labels={"a": "b"}), spec=pod_spec())
    apps = client.AppsV1Api(connection)
    selector = client.V1LabelSelector(match_labels={"a": "b"})
    spec = client.V1DeploymentSpec(replicas=2, selector=selector, template=template)
    apps.create_namespaced_deployment(
        namespace, client.V1Deployment(metadata=named("d"), spec=spec)
    )
    until(
        lambda: apps.read_namespaced_deployment_status("d", namespace).status.ready_replicas == 2,
        "the deployment is ready",
    )
    scale = apps.read_namespaced_deployment_scale("d", namespace)
    scale.spec.replicas = 1
    assert apps.replace_namespaced_deployment_scale("d", namespace, scale).spec.replicas == 1
    batch = client.BatchV1Api(connection)
    once = client.V1PodTemplateSpec(spec=pod_spec())
    once.spec.restart_policy = "Never"
    job = client.V1Job(metadata=named("j"), spec=client.V1JobSpec(template=once))
    assert batch.create_namespaced_job(namespace, job).spec.backoff_limit == 6
    rbac = client.RbacAuthorizationV1Api(connection)
    rule = client.V1PolicyRule(api_groups=[""], resources=["pods"], verbs=["get"])
    role = client.V1Role(metadata=named("r"), rules=[rule])
    assert rbac.create_namespaced_role(namespace, role).rules[0].verbs == ["get"]
    net = client.NetworkingV1Api(connection)
    policy = client.V1NetworkPolicy(
        metadata=named("n"), spec=client.V1NetworkPolicySpec(pod_selector=client.V1LabelSelector())
    )
    assert net.create_namespaced_network_policy(namespace, policy).spec.policy_types == ["Ingress"]
    budget = client.V1PodDisruptionBudget(
        metadata=named("b"), spec=client.V1PodDisruptionBudgetSpec(min_available="50%")
    )
    client.PolicyV1Api(connection).create_namespaced_pod_disruption_budget(namespace, budget)
    about = client.V1ObjectReference(kind="Pod", namespace=namespace)
    event = client.CoreV1Event(
        metadata=named("e"), involved_object=about, type="Normal", reason="R", message="m"
    )
    assert core.create_namespaced_event(namespace, event).type == "Normal"


def test_all_kinds_of_patches(connection: Any, namespace: str) -> None:
    core = client.CoreV1Api(connection)
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "c"}, "data": {"a": "1"}})
    patch = core.patch_namespaced_config_map
    assert patch("c", namespace, {"data": {"b": "2"}}).data == {"a": "1", "b": "2"}
    operations = [{"op": "remove", "path": "/data/a"}]
    assert patch("c", namespace, operations).data == {"b": "2"}
    applied = patch(
        "c", namespace,
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"x": "y"}},
        field_manager="test", force=True, _content_type="application/apply-patch+yaml",
    )  # fmt: skip
    assert applied.data == {"b": "2", "x": "y"}
    managers = {m.manager: m.operation for m in applied.metadata.managed_fields}
    assert managers["test"] == "Apply"
    dry = patch("c", namespace, {"data": {"z": "z"}}, dry_run="All")
    assert "z" in dry.data
    assert "z" not in core.read_namespaced_config_map("c", namespace).data


def test_lists_in_pages_and_deletes_of_collections(connection: Any, namespace: str) -> None:
    core = client.CoreV1Api(connection)
    for number in range(5):
        metadata = {"name": f"c{number}", "labels": {"odd": str(number % 2)}}
        core.create_namespaced_config_map(namespace, {"metadata": metadata})
    names, token = [], None
    while True:
        page = core.list_namespaced_config_map(namespace, limit=2, _continue=token)
        names += [item.metadata.name for item in page.items]
        token = page.metadata._continue
        if not token:
            break
    assert names == [*(f"c{n}" for n in range(5)), "kube-root-ca.crt"]
    core.delete_collection_namespaced_config_map(namespace, label_selector="odd=1")
    left = core.list_namespaced_config_map(namespace, label_selector="odd").items
    assert [item.metadata.name for item in left] == ["c0", "c2", "c4"]
    answer = core.delete_namespaced_config_map("c0", namespace)
    said = answer if isinstance(answer, dict) else answer.to_dict()
    assert (said["status"], said["details"]["name"]) == ("Success", "c0")


def test_a_watch_goes_on_from_where_it_was(connection: Any, namespace: str) -> None:
    core = client.CoreV1Api(connection)
    version = core.list_namespaced_config_map(namespace).metadata.resource_version
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "w", "labels": {"w": "1"}}})
    core.patch_namespaced_config_map("w", namespace, {"data": {"a": "1"}})
    core.delete_namespaced_config_map("w", namespace)
    seen = []
    stream = watch.Watch()
    options = {"resource_version": version, "label_selector": "w", "timeout_seconds": 20}
    for event in stream.stream(core.list_namespaced_config_map, namespace, **options):
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            stream.stop()
    assert seen == [("ADDED", "w"), ("MODIFIED", "w"), ("DELETED", "w")]


def test_the_initial_events_of_a_watch_end_with_a_bookmark(connection: Any, namespace: str) -> None:
    core = client.CoreV1Api(connection)
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "first"}})
    stream = watch.Watch()
    names = []
    for event in stream.stream(
        core.list_namespaced_config_map, namespace, send_initial_events=True,
        resource_version_match="NotOlderThan", allow_watch_bookmarks=True, timeout_seconds=20,
    ):  # fmt: skip
        if event["type"] == "BOOKMARK":
            notes = event["raw_object"]["metadata"]["annotations"]
            assert notes == {"k8s.io/initial-events-end": "true"}
            stream.stop()
        else:
            names.append(event["object"].metadata.name)
    assert "first" in names


def test_an_informer_follows(connection: Any, namespace: str) -> None:
    informer = pytest.importorskip("kubernetes.informer")
    core = client.CoreV1Api(connection)
    seen: list[tuple[str, str]] = []
    shared = informer.SharedInformer(core.list_namespaced_config_map, namespace=namespace)
    for kind in ("ADDED", "MODIFIED", "DELETED"):
        shared.add_event_handler(
            kind, lambda obj, kind=kind: seen.append((kind, obj.metadata.name))
        )
    shared.start()
    try:
        until(lambda: shared.cache.list(), "the informer has listed")
        core.create_namespaced_config_map(namespace, {"metadata": {"name": "followed"}})
        core.patch_namespaced_config_map("followed", namespace, {"data": {"a": "1"}})
        core.delete_namespaced_config_map("followed", namespace)
        until(lambda: ("DELETED", "followed") in seen, "the informer saw it go")
    finally:
        shared.stop()
    about = [kind for kind, name in seen if name == "followed"]
    assert about == ["ADDED", "MODIFIED", "DELETED"]


def test_the_dynamic_client_finds_every_resource(connection: Any, namespace: str) -> None:
    found = dynamic.DynamicClient(connection)
    pods = found.resources.get(api_version="v1", kind="Pod")
    assert pods.namespaced
    deployments = found.resources.get(api_version="apps/v1", kind="Deployment")
    body = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}},
    }  # fmt: skip
    assert deployments.create(body=body, namespace=namespace).spec.replicas == 1
    patched = deployments.patch(
        name="d", namespace=namespace, body={"spec": {"replicas": 3}},
        content_type="application/merge-patch+json",
    )  # fmt: skip
    assert patched.spec.replicas == 3
    body["spec"]["paused"] = True  # type: ignore[index]
    applied = deployments.server_side_apply(
        body=body, name="d", namespace=namespace, field_manager="dyn", force_conflicts=True
    )
    assert applied.spec.paused is True
    assert deployments.scale.get(name="d", namespace=namespace).spec.replicas == 3
    events = deployments.watch(namespace=namespace, timeout=20)
    assert next(iter(events))["object"].metadata.name == "d"
    assert deployments.delete(name="d", namespace=namespace).status == "Success"
    ours = found.resources.get(
        api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition"
    )
    assert ours.group == "apiextensions.k8s.io"
    kinds = {each.kind for each in found.resources.search(group="batch")}
    assert {"Job", "CronJob"} <= kinds


MANIFEST = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: one}}
- {apiVersion: v1, kind: Secret, metadata: {name: two}, stringData: {a: b}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: three}
rules: []
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: four}
spec: {defaultBackend: {service: {name: s, port: {number: 80}}}}
"""


def test_manifests_become_objects(connection: Any, namespace: str, tmp_path: Any) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(MANIFEST)
    made = utils.create_from_yaml(connection, str(file), namespace=namespace)
    names = [each.metadata.name for group in made for each in group]
    assert names == ["one", "two", "three", "four"]
    core = client.CoreV1Api(connection)
    assert core.read_namespaced_secret("two", namespace).data == {"a": "Yg=="}
    with pytest.raises(utils.FailToCreateError, match="already exists"):
        utils.create_from_yaml(connection, str(file), namespace=namespace)


CANDIDATE = """
import sys
from kubernetes import config
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

kubeconfig, namespace, name = sys.argv[1:]
config.load_kube_config(kubeconfig)
leaderelection.LeaderElection(electionconfig.Config(
    LeaseLock("lock", namespace, name), lease_duration=4, renew_deadline=3, retry_period=1,
    onstarted_leading=lambda: print("leading", flush=True), onstopped_leading=lambda: None,
)).run()
"""


def test_one_leader_at_a_time(connection: Any, cluster: Any, namespace: str) -> None:
    pytest.importorskip("kubernetes.leaderelection.resourcelock.leaselock")
    leases = client.CoordinationV1Api(connection)

    def lease() -> Any:
        found = leases.list_namespaced_lease(namespace).items
        return found[0].spec if found else None

    candidates = {
        name: subprocess.Popen(
            [sys.executable, "-c", CANDIDATE, cluster.kubeconfig, namespace, name],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        for name in ("first", "second")
    }  # fmt: skip
    try:
        leader = until(lease, "somebody leads").holder_identity
        assert candidates[leader].stdout.readline() == "leading\n"
        renewed = lease().renew_time
        until(lambda: lease().renew_time > renewed, "the leader renews")
        candidates[leader].kill()
        (other,) = set(candidates) - {leader}
        assert candidates[other].stdout.readline() == "leading\n"
        assert lease().holder_identity == other
    finally:
        for process in candidates.values():
            process.kill()
            process.communicate()


def test_tokens_and_access_reviews(connection: Any, cluster: Any, namespace: str) -> None:
    core = client.CoreV1Api(connection)
    core.create_namespaced_service_account(namespace, {"metadata": {"name": "robot"}})
    request = {"spec": {"expirationSeconds": 600}}
    token = core.create_namespaced_service_account_token("robot", namespace, request)
    options = client.Configuration()
    options.host = f"https://127.0.0.1:{cluster.port}"
    options.ssl_ca_cert = cluster.authority.ca
    options.api_key["authorization"] = f"Bearer {token.status.token}"
    with client.ApiClient(options) as robot:
        with pytest.raises(ApiException) as refused:
            client.CoreV1Api(robot).list_namespaced_pod(namespace)
        assert refused.value.status == 403
        who = client.AuthenticationV1Api(robot).create_self_subject_review({})
        assert who.status.user_info.username == f"system:serviceaccount:{namespace}:robot"
    review = client.V1SubjectAccessReview(
        spec=client.V1SubjectAccessReviewSpec(
            user="admin", groups=["system:masters"],
            resource_attributes=client.V1ResourceAttributes(verb="get", resource="pods"),
        )
    )  # fmt: skip
    answer = client.AuthorizationV1Api(connection).create_subject_access_review(review)
    assert answer.status.allowed is True


def test_evictions_bindings_and_logs_have_their_own_calls(connection: Any, namespace: str) -> None:
    core = client.CoreV1Api(connection)
    core.create_namespaced_pod(namespace, client.V1Pod(metadata=named("p"), spec=pod_spec()))
    until(
        lambda: core.read_namespaced_pod("p", namespace).status.phase == "Running", "the pod runs"
    )
    eviction = client.V1Eviction(metadata=named("p", namespace=namespace))
    core.create_namespaced_pod_eviction("p", namespace, eviction)

    def gone() -> bool:
        try:
            core.read_namespaced_pod("p", namespace)
        except ApiException as error:
            return bool(error.status == 404)
        return False

    until(gone, "the pod is evicted")
