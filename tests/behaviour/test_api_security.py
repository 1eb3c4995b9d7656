"""Who may do what, through the real kubectl and plain requests with tokens."""

from __future__ import annotations

import base64
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.machinery import jwt
from cluster.storage.encryption.config import document

_spec = importlib.util.spec_from_file_location(
    "api_fixture", Path(__file__).parents[1] / "unit/apiserver/api_fixture.py"
)
assert _spec is not None
assert _spec.loader is not None
api_fixture = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(api_fixture)
RunningApi = Any

pytestmark = pytest.mark.skipif(api_fixture.KUBECTL is None, reason="kubectl is not on PATH")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    folder = tmp_path_factory.mktemp("security")
    (folder / "tokens.csv").write_text('secret-of-tom,tom,42,"devs,ops"\n')
    (folder / "encryption.yaml").write_text(document("aesgcm", "k1", b"k" * 32, ["secrets"]))
    running = api_fixture.RunningApi(
        folder,
        token_file=str(folder / "tokens.csv"),
        encryption=str(folder / "encryption.yaml"),
    )
    for name in ("default", "robot"):
        account = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": name}}
        running.json("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    yield running
    running.close()


def with_token(api: RunningApi, token: str, path: str, **headers: str) -> tuple[int, Any]:
    sent = {"Authorization": f"Bearer {token}", **headers}
    code, _, body = api.raw("GET", path, headers=sent, anonymous=True)
    return code, json.loads(body)


def user_of(api: RunningApi, token: str, **headers: str) -> Any:
    """Who the server thinks that this token is."""
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    review = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}
    sent = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = json.dumps(review).encode()
    code, _, answer = api.raw("POST", path, body, {**sent, **headers}, anonymous=True)
    return code, json.loads(answer)["status"]["userInfo"] if code == 201 else None


# -- who asks ---------------------------------------------------------------------------------


def test_a_token_of_the_file_names_its_user(api: RunningApi) -> None:
    code, info = user_of(api, "secret-of-tom")
    assert code == 201
    assert info == {
        "username": "tom",
        "uid": "42",
        "groups": ["devs", "ops", "system:authenticated"],
    }


def test_a_wrong_token_is_401_and_not_anonymous(api: RunningApi) -> None:
    code, answer = with_token(api, "wrong", "/version")
    assert (code, answer["reason"], answer["message"]) == (401, "Unauthorized", "Unauthorized")


def test_a_service_account_has_tokens_that_end_with_it(api: RunningApi) -> None:
    api.kubectl("create", "serviceaccount", "brief")
    token = api.kubectl("create", "token", "brief", "--duration=20m").strip()
    code, info = user_of(api, token)
    assert code == 201
    assert info["username"] == "system:serviceaccount:default:brief"
    assert info["groups"] == [
        "system:serviceaccounts",
        "system:serviceaccounts:default",
        "system:authenticated",
    ]
    assert info["extra"]["authentication.kubernetes.io/credential-id"][0].startswith("JTI=")
    api.kubectl("delete", "serviceaccount", "brief")
    assert user_of(api, token)[0] == 401
    api.kubectl("create", "serviceaccount", "brief")
    assert user_of(api, token)[0] == 401  # another account of that name


def test_a_token_bound_to_a_pod_ends_with_the_pod(api: RunningApi) -> None:
    pod = {"containers": [{"name": "c", "image": "i"}], "serviceAccountName": "robot"}
    body = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "bound"}, "spec": pod}
    api.json("POST", "/api/v1/namespaces/default/pods", body)
    token = api.kubectl(
        "create", "token", "robot", "--bound-object-kind=Pod", "--bound-object-name=bound"
    ).strip()
    code, info = user_of(api, token)
    assert (code, info["extra"]["authentication.kubernetes.io/pod-name"]) == (201, ["bound"])
    said = api.kubectl(
        "create", "token", "default", "--bound-object-kind=Pod", "--bound-object-name=bound",
        ok=False,
    )  # fmt: skip
    assert "pod running with different serviceaccount name" in said
    api.kubectl("delete", "pod", "bound", "--force", "--grace-period=0")
    assert user_of(api, token)[0] == 401


def test_a_token_is_good_for_its_audience_only(api: RunningApi) -> None:
    token = api.kubectl("create", "token", "robot", "--audience=vault").strip()
    assert user_of(api, token)[0] == 401
    review = {
        "kind": "TokenReview",
        "apiVersion": "authentication.k8s.io/v1",
        "spec": {"token": token, "audiences": ["vault", "other"]},
    }
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    _, answer = api.json("POST", path, review)
    assert answer["status"]["authenticated"] is True
    assert answer["status"]["audiences"] == ["vault"]
    review["spec"] = {"token": token}
    _, answer = api.json("POST", path, review)
    assert "authenticated" not in answer["status"]
    assert answer["status"]["error"]


def test_a_token_may_not_be_too_short_lived(api: RunningApi) -> None:
    said = api.kubectl("create", "token", "robot", "--duration=9m", ok=False)
    assert "may not specify a duration less than 10 minutes" in said


def test_a_secret_holds_a_bootstrap_token(api: RunningApi) -> None:
    data = {
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true",
        "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
    }
    secret = {
        "kind": "Secret",
        "apiVersion": "v1",
        "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": "bootstrap-token-abcdef"},
        "stringData": data,
    }
    assert api.json("POST", "/api/v1/namespaces/kube-system/secrets", secret)[0] == 201
    code, info = user_of(api, "abcdef.0123456789abcdef")
    assert (code, info["username"]) == (201, "system:bootstrap:abcdef")
    assert "system:bootstrappers" in info["groups"]
    assert user_of(api, "abcdef.0000000000000000")[0] == 401
    patch = json.dumps({"stringData": {"expiration": "2020-01-01T00:00:00Z"}}).encode()
    headers = {"Content-Type": "application/merge-patch+json"}
    path = "/api/v1/namespaces/kube-system/secrets/bootstrap-token-abcdef"
    assert api.raw("PATCH", path, patch, headers)[0] == 200
    assert user_of(api, "abcdef.0123456789abcdef")[0] == 401


def test_the_keys_for_tokens_are_published(api: RunningApi) -> None:
    token = api.kubectl("create", "token", "robot").strip()
    _, discovery = with_token(api, token, "/.well-known/openid-configuration")
    assert discovery["issuer"] == jwt.claims_unverified(token)["iss"]
    _, keys = with_token(api, token, "/openid/v1/jwks")
    known = [key for key in (jwt.from_jwk(each) for each in keys["keys"]) if key]
    assert jwt.verify(token, known)["sub"] == "system:serviceaccount:default:robot"


def test_kubectl_says_who_one_is(api: RunningApi) -> None:
    assert "admin" in api.kubectl("auth", "whoami")


def test_impersonation_needs_a_permission_for_each_part(api: RunningApi) -> None:
    acting = ("--as=system:serviceaccount:default:robot", "--as-group=x", "auth", "whoami")
    shown = json.loads(api.kubectl(*acting, "-o", "json"))
    assert shown["status"]["userInfo"]["groups"] == ["x", "system:authenticated"]
    jane = api.kubeconfig_for("jane")
    said = api.kubectl("--as=tom", "get", "pods", ok=False, kubeconfig=jane)
    assert 'users "tom" is forbidden: User "jane" cannot impersonate resource "users"' in said
    api.kubectl("create", "clusterrole", "as-tom", "--verb=impersonate", "--resource=users",
                "--resource-name=tom")  # fmt: skip
    api.kubectl("create", "clusterrolebinding", "as-tom", "--clusterrole=as-tom", "--user=jane")
    assert "tom" in api.kubectl("--as=tom", "auth", "whoami", kubeconfig=jane)
    said = api.kubectl("--as=tom", "--as-group=system:masters", "get", "pods", ok=False,
                       kubeconfig=jane)  # fmt: skip
    assert 'groups "system:masters" is forbidden' in said


# -- what they may do -------------------------------------------------------------------------


def test_the_roles_of_every_cluster_are_there(api: RunningApi) -> None:
    names = {role["metadata"]["name"] for role in api.get("clusterroles")["items"]}
    assert {"cluster-admin", "admin", "edit", "view", "system:node", "system:discovery"} <= names
    assert "system:controller:deployment-controller" in names
    role = api.get("clusterrole", "cluster-admin")
    assert role["metadata"]["annotations"] == {
        "rbac.authorization.kubernetes.io/autoupdate": "true"
    }


def test_a_role_binding_lets_its_subject_into_its_namespace(api: RunningApi) -> None:
    anna = api.kubeconfig_for("anna")
    ask = ("auth", "can-i", "list", "pods")
    assert api.kubectl(*ask, ok=False, kubeconfig=anna) == ""
    api.kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods,pods/log")
    api.kubectl("create", "rolebinding", "anna", "--role=reader", "--user=anna")
    assert api.kubectl(*ask, kubeconfig=anna).strip() == "yes"
    api.kubectl("get", "pods", kubeconfig=anna)
    said = api.kubectl("get", "pods", "-n", "kube-system", ok=False, kubeconfig=anna)
    assert (
        'pods is forbidden: User "anna" cannot list resource "pods" in API group "" '
        'in the namespace "kube-system"' in said
    )
    said = api.kubectl("delete", "pod", "x", ok=False, kubeconfig=anna)
    assert 'cannot delete resource "pods"' in said
    listed = api.kubectl("auth", "can-i", "--list", kubeconfig=anna)
    assert "pods/log" in listed
    assert "selfsubjectaccessreviews.authorization.k8s.io" in listed
    api.kubectl("delete", "rolebinding", "anna")
    assert api.kubectl(*ask, ok=False, kubeconfig=anna) == ""


def test_names_in_a_rule_restrict_it(api: RunningApi) -> None:
    bert = api.kubeconfig_for("bert")
    for name in ("open", "closed"):
        api.kubectl("create", "configmap", name)
    api.kubectl("create", "role", "one", "--verb=get,list", "--resource=configmaps",
                "--resource-name=open")  # fmt: skip
    api.kubectl("create", "rolebinding", "bert", "--role=one", "--user=bert")
    api.kubectl("get", "configmap", "open", kubeconfig=bert)
    api.kubectl("get", "cm", "--field-selector=metadata.name=open", kubeconfig=bert)
    for args in (("configmap", "closed"), ("configmaps",)):
        assert "forbidden" in api.kubectl("get", *args, ok=False, kubeconfig=bert)


def test_nobody_gives_away_what_they_do_not_have(api: RunningApi) -> None:
    carl = api.kubeconfig_for("carl")
    api.kubectl("create", "role", "granter", "--verb=create,update,get,list",
                "--resource=roles.rbac.authorization.k8s.io",
                "--resource=rolebindings.rbac.authorization.k8s.io")  # fmt: skip
    api.kubectl("create", "role", "pods", "--verb=get", "--resource=pods")
    for role in ("granter", "pods"):
        api.kubectl("create", "rolebinding", f"carl-{role}", f"--role={role}", "--user=carl")
    api.kubectl("create", "role", "little", "--verb=get", "--resource=pods", kubeconfig=carl)
    said = api.kubectl("create", "role", "much", "--verb=get,delete", "--resource=pods",
                       ok=False, kubeconfig=carl)  # fmt: skip
    assert "is attempting to grant RBAC permissions not currently held" in said
    assert '{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}' in said
    said = api.kubectl("create", "rolebinding", "up", "--clusterrole=cluster-admin", "--user=carl",
                       ok=False, kubeconfig=carl)  # fmt: skip
    assert "not currently held" in said
    api.kubectl("create", "role", "binder", "--verb=bind", "--resource-name=system:node",
                "--resource=clusterroles.rbac.authorization.k8s.io")  # fmt: skip
    api.kubectl("create", "rolebinding", "carl-binder", "--role=binder", "--user=carl")
    api.kubectl("create", "rolebinding", "up", "--clusterrole=system:node", "--user=carl",
                kubeconfig=carl)  # fmt: skip


# -- what stands in the store -----------------------------------------------------------------


def test_secrets_stand_encrypted_in_the_store(api: RunningApi) -> None:
    api.kubectl("create", "secret", "generic", "hidden", "--from-literal=password=hunter2")
    stored = api.call(api.store.range(b"/registry/secrets/default/hidden")).kvs[0].value
    assert stored.startswith(b"k8s:enc:aesgcm:v1:k1:")
    assert base64.b64encode(b"hunter2") not in stored
    api.stop()
    api.start()
    secret = api.get("secret", "hidden")
    assert base64.b64decode(secret["data"]["password"]) == b"hunter2"
    patch = ("patch", "secret", "hidden", "-p", '{"metadata":{"labels":{"a":"b"}}}')
    assert "patched" in api.kubectl(*patch)
    assert api.get("secret", "hidden")["data"] == secret["data"]


# -- nodes ------------------------------------------------------------------------------------


def on_node(name: str, node: str, secret: str) -> str:
    volume = {"name": "v", "secret": {"secretName": secret}}
    spec = {
        "nodeName": node,
        "serviceAccountName": "robot",
        "containers": [{"name": "c", "image": "i"}],
        "volumes": [volume],
    }
    pod = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name}, "spec": spec}
    return json.dumps(pod)


def test_a_node_reads_what_its_own_pods_name_and_nothing_else(api: RunningApi) -> None:
    node = api.kubeconfig_for("system:node:n1", ["system:nodes"])
    for name in ("mine", "theirs"):
        api.kubectl("create", "secret", "generic", name, "--from-literal=a=b")
    api.kubectl("create", "-f", "-", stdin=on_node("here", "n1", "mine"))
    api.kubectl("create", "-f", "-", stdin=on_node("there", "n2", "theirs"))
    api.kubectl("get", "secret", "mine", kubeconfig=node)
    api.kubectl("get", "secrets", "--field-selector=metadata.name=mine", kubeconfig=node)
    said = api.kubectl("get", "secret", "theirs", ok=False, kubeconfig=node)
    assert "no relationship found between node 'n1' and this object" in said
    assert "No Object name found" in api.kubectl("get", "secrets", ok=False, kubeconfig=node)
    api.kubectl("get", "pods", "-A", "--field-selector=spec.nodeName=n1", kubeconfig=node)
    said = api.kubectl("get", "pods", "-A", ok=False, kubeconfig=node)
    assert "can only list/watch pods with spec.nodeName field selector" in said
    api.kubectl("get", "pod", "here", kubeconfig=node)
    assert "forbidden" in api.kubectl("get", "pod", "there", ok=False, kubeconfig=node)
    api.kubectl("delete", "pod", "here", "--force", "--grace-period=0")
    assert "forbidden" in api.kubectl("get", "secret", "mine", ok=False, kubeconfig=node)


def test_a_node_writes_its_own_objects_only(api: RunningApi) -> None:
    kubeconfig = api.kubeconfig_for("system:node:n3", ["system:nodes"])

    def node(name: str, **labels: str) -> str:
        metadata = {"name": name, "labels": labels}
        return json.dumps({"kind": "Node", "apiVersion": "v1", "metadata": metadata})

    def create(text: str, ok: bool = True) -> str:
        return str(api.kubectl("create", "-f", "-", stdin=text, ok=ok, kubeconfig=kubeconfig))

    assert 'is not allowed to modify node "n4"' in create(node("n4"), ok=False)
    own = "node-restriction.kubernetes.io/zone"
    assert "is not allowed to modify labels" in create(node("n3", **{own: "a"}), ok=False)
    create(node("n3", **{"kubernetes.io/hostname": "n3", "example.com/x": "y"}))
    taint = '{"spec":{"taints":[{"key":"a","effect":"NoSchedule"}]}}'
    said = api.kubectl("patch", "node", "n3", "-p", taint, ok=False, kubeconfig=kubeconfig)
    assert "is not allowed to modify taints" in said
    api.kubectl("create", "-f", "-", stdin=on_node("away", "n5", "mine"))
    path = "/api/v1/namespaces/default/pods/away/status"
    files = api.authority.issue("system:node:n3", ["system:nodes"])
    headers = {"Content-Type": "application/merge-patch+json"}
    body = b'{"status":{"phase":"Failed"}}'
    code, _, answer = api.raw("PATCH", path, body, headers, user=files)
    said = answer.decode()
    assert code == 403
    assert "can only update status for pods with spec.nodeName set to itself" in said
    said = api.kubectl("create", "token", "robot", ok=False, kubeconfig=kubeconfig)
    assert "no relationship found" in said  # no pod of this account is here
    api.kubectl("create", "-f", "-", stdin=on_node("near", "n3", "mine"))
    said = api.kubectl("create", "token", "robot", ok=False, kubeconfig=kubeconfig)
    assert "requested token not bound to a pod" in said
    uid = api.get("pod", "near")["metadata"]["uid"]
    bound = ("--bound-object-kind=Pod", "--bound-object-name=near", f"--bound-object-uid={uid}")
    api.kubectl("create", "token", "robot", *bound, kubeconfig=kubeconfig)
    said = api.kubectl(
        "create", "token", "robot", "--audience=other", *bound, ok=False, kubeconfig=kubeconfig
    )
    assert 'audience "other" not found in pod spec volume' in said


def test_a_node_shows_its_own_pods_and_they_read_nothing(api: RunningApi) -> None:
    kubeconfig = api.kubeconfig_for("system:node:n6", ["system:nodes"])
    node = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n6"}}
    api.kubectl("create", "-f", "-", stdin=json.dumps(node), kubeconfig=kubeconfig)
    uid = api.get("node", "n6")["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n6", "uid": uid, "controller": True}

    def create(ok: bool = True, owner: Any = owner, name: str = "static", **spec: Any) -> str:
        metadata = {
            "name": name,
            "annotations": {"kubernetes.io/config.mirror": "x"},
            "ownerReferences": [owner],
        }
        spec = {"nodeName": "n6", "containers": [{"name": "c", "image": "i"}], **spec}
        pod = {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec}
        text = json.dumps(pod)
        return str(api.kubectl("create", "-f", "-", stdin=text, ok=ok, kubeconfig=kubeconfig))

    volumes = [{"name": "v", "secret": {"secretName": "s"}}]
    assert "can not create pods that reference secrets" in create(ok=False, volumes=volumes)
    source = {"secretKeyRef": {"name": "s", "key": "k"}}
    container = {"name": "c", "image": "i", "env": [{"name": "A", "valueFrom": source}]}
    assert "that reference secrets" in create(ok=False, containers=[container])
    assert "an owner reference set to itself" in create(ok=False, owner={**owner, "name": "n7"})
    assert "UID mismatch" in create(ok=False, owner={**owner, "uid": "other"})
    blocking = {**owner, "blockOwnerDeletion": True}
    assert "must not set blockOwnerDeletion" in create(ok=False, owner=blocking)
    create()
