"""Who and what an API server asks about users: an OIDC issuer, webhooks, a front proxy."""

from __future__ import annotations

import http.server
import importlib.util
import json
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cluster.machinery import jwt

_spec = importlib.util.spec_from_file_location(
    "api_fixture", Path(__file__).parents[1] / "unit/apiserver/api_fixture.py"
)
assert _spec is not None
assert _spec.loader is not None
api_fixture = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(api_fixture)


def rsa_key() -> jwt.SigningKey:
    key = rsa.generate_private_key(65537, 2048)
    return jwt.SigningKey(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


class Outside:
    """An issuer and two webhooks behind one HTTPS address."""

    def __init__(self, tls: dict[str, str]) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.key = rsa_key()
        outside = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                return

            def answer(self, obj: Any) -> None:
                body = json.dumps(obj).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                outside.asked.append((self.path, None))
                if self.path == "/keys":
                    self.answer({"keys": [jwt.to_jwk(outside.key.public)]})
                else:
                    keys = f"{outside.url}/keys"
                    self.answer({"issuer": outside.url, "jwks_uri": keys})

            def do_POST(self) -> None:
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outside.asked.append((self.path, review["spec"]))
                review["status"] = outside.token(review["spec"])
                if self.path == "/authorize":
                    review["status"] = outside.access(review["spec"])
                self.answer(review)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls["cert"], tls["key"])
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self, spec: Any) -> Any:
        if spec.get("token") != "webhooks-own":
            return {"authenticated": False}
        return {"authenticated": True, "user": {"username": "wendy", "groups": ["crew"]}}

    def access(self, spec: Any) -> Any:
        allowed = spec.get("user") == "wendy" and "resourceAttributes" in spec
        return {"allowed": allowed, "reason": "" if allowed else "not of the crew"}

    def id_token(self, **claims: Any) -> str:
        now = int(time.time())
        given = {"iss": self.url, "aud": "raykube", "sub": "olga", "exp": now + 600}
        return self.key.sign({**given, "groups": ["devs"], "tenant": "a", **claims})

    def calls(self, path: str) -> int:
        return sum(1 for asked, _ in self.asked if asked == path)


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    folder = tmp_path_factory.mktemp("outside")
    authority = api_fixture.Authority(folder)
    found = Outside(authority.issue("outside", server=True))
    found.ca = authority.ca  # type: ignore[attr-defined]
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, outside: Any) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("api")
    (tmp_path_factory.mktemp("proxies"))
    running = api_fixture.RunningApi(
        folder,
        anonymous=False,
        oidc=[
            {
                "issuer_url": outside.url,
                "client_id": "raykube",
                "ca_file": outside.ca,
                "username_prefix": "oidc:",
                "groups_claim": "groups",
                "groups_prefix": "oidc:",
                "required_claims": {"tenant": "a"},
            }
        ],
        token_webhook={"kubeconfig": kubeconfig(folder, outside, "/authenticate")},
        authorization_webhook={"kubeconfig": kubeconfig(folder, outside, "/authorize")},
    )
    yield running
    running.close()


def kubeconfig(folder: Path, outside: Any, path: str) -> str:
    cluster = {"server": outside.url + path, "certificate-authority": outside.ca}
    config = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file = folder / f"webhook{path.replace('/', '-')}"
    file.write_text(yaml.safe_dump(config))
    return str(file)


def who(api: Any, token: str) -> tuple[int, Any]:
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    review = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    body = json.dumps(review).encode()
    code, _, answer = api.raw("POST", path, body, headers, anonymous=True)
    return code, json.loads(answer)["status"]["userInfo"] if code == 201 else None


def test_an_id_token_names_its_user_and_groups(api: Any, outside: Any) -> None:
    code, info = who(api, outside.id_token())
    assert (code, info["username"]) == (201, "oidc:olga")
    assert info["groups"] == ["oidc:devs", "system:authenticated"]
    who(api, outside.id_token())
    assert outside.calls("/keys") == 1  # they are kept


@pytest.mark.parametrize(
    "claims", [{"aud": "other"}, {"exp": 1}, {"tenant": "b"}, {"sub": ""}, {"groups": {"a": 1}}]
)
def test_id_tokens_that_do_not_hold(api: Any, outside: Any, claims: dict[str, Any]) -> None:
    assert who(api, outside.id_token(**claims))[0] == 401


def test_an_id_token_of_another_key_is_refused(api: Any, outside: Any) -> None:
    mine, outside.key = outside.key, rsa_key()
    try:
        assert who(api, outside.id_token())[0] == 401
    finally:
        outside.key = mine


def test_without_anonymous_users_nobody_is_401(api: Any) -> None:
    assert who(api, "")[0] == 401


def test_webhooks_say_who_and_what(api: Any, outside: Any) -> None:
    code, info = who(api, "webhooks-own")
    assert (code, info["username"], info["groups"][0]) == (201, "wendy", "crew")
    headers = {"Authorization": "Bearer webhooks-own"}
    path = "/api/v1/namespaces/default/pods"
    for _ in range(3):
        assert api.raw("GET", path, headers=headers, anonymous=True)[0] == 200
    asked = [spec for at, spec in outside.asked if at == "/authorize"]
    about_pods = [s for s in asked if s.get("resourceAttributes", {}).get("resource") == "pods"]
    assert len(about_pods) == 1  # the answer is kept
    assert about_pods[0]["groups"] == ["crew", "system:authenticated"]
    code, _, body = api.raw("GET", "/metrics", headers=headers, anonymous=True)
    assert code == 403
    assert json.loads(body)["message"].endswith("not of the crew")


def test_a_front_proxy_is_believed_and_nobody_else(tmp_path: Path) -> None:
    proxies = tmp_path / "proxies"
    proxies.mkdir()
    front = api_fixture.Authority(proxies, "proxy-ca")
    proxy, other = front.issue("front"), front.issue("somebody")
    running = api_fixture.RunningApi(
        tmp_path, request_header={"ca": front.ca, "allowed_names": ["front"]}
    )
    try:
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        review = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}
        headers = {
            "Content-Type": "application/json",
            "X-Remote-User": "paula",
            "X-Remote-Group": "crew",
            "X-Remote-Extra-Scopes": "a",
        }

        def ask(user: dict[str, str]) -> tuple[int, Any]:
            body = json.dumps(review).encode()
            code, _, answer = running.raw("POST", path, body, headers, user=user)
            return code, json.loads(answer)

        code, answer = ask(proxy)
        assert code == 201
        assert answer["status"]["userInfo"] == {
            "username": "paula",
            "groups": ["crew", "system:authenticated"],
            "extra": {"scopes": ["a"]},
        }
        assert ask(other)[0] == 403  # nobody: it is anonymous, and a proxy's name is no user
        code, answer = ask(running.admin)  # a user's own certificate: the headers mean nothing
        assert (code, answer["status"]["userInfo"]["username"]) == (201, "admin")
    finally:
        running.close()


# -- configuration files -----------------------------------------------------------------------


def authentication(outside: Any, *, groups: str = "claims.groups.map(g, 'x:' + g)") -> str:
    mappings = {
        "username": {"expression": "claims.sub + '@' + claims.tenant"},
        "groups": {"expression": groups},
        "uid": {"claim": "oid"},
        "extra": [{"key": "example.com/tenant", "valueExpression": "claims.tenant"}],
    }
    issuer = {
        "url": outside.url,
        "audiences": ["raykube", "other"],
        "audienceMatchPolicy": "MatchAny",
        "certificateAuthority": Path(outside.ca).read_text(),
    }
    rules = [
        {"expression": "claims.exp - claims.iat <= 3600", "message": "lives too long"},
        {"claim": "tenant", "requiredValue": "a"},
    ]
    users = [{"expression": "!user.username.startsWith('system:')"}]
    entry = {
        "issuer": issuer,
        "claimMappings": mappings,
        "claimValidationRules": rules,
        "userValidationRules": users,
    }
    return yaml.safe_dump({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [entry],
        "anonymous": {"enabled": True, "conditions": [{"path": "/livez"}, {"path": "/readyz"}]},
    })  # fmt: skip


def authorization(webhook: str, policy: str = "NoOpinion", *more: Any) -> str:
    conditions = [
        {"expression": "has(request.resourceAttributes)"},
        {"expression": "request.resourceAttributes.namespace == 'default'"},
    ]
    hook = {
        "type": "Webhook",
        "name": "outside",
        "webhook": {
            "timeout": "3s",
            "failurePolicy": policy,
            "subjectAccessReviewVersion": "v1",
            "matchConditionSubjectAccessReviewVersion": "v1",
            "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": webhook},
            "matchConditions": conditions,
        },
    }
    own = [{"type": name, "name": name.lower()} for name in ("Node", "RBAC")]
    return yaml.safe_dump({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthorizationConfiguration",
        "authorizers": [hook, *own, *more],
    })  # fmt: skip


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory, outside: Any) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("configured")
    (folder / "authn.yaml").write_text(authentication(outside))
    webhook = kubeconfig(folder, outside, "/authorize")
    (folder / "authz.yaml").write_text(authorization(webhook))
    running = api_fixture.RunningApi(
        folder,
        authentication_config=str(folder / "authn.yaml"),
        authorization_config=str(folder / "authz.yaml"),
        token_webhook={"kubeconfig": kubeconfig(folder, outside, "/authenticate")},
        config_reload_s=0.05,
    )
    yield running
    running.close()


def until(found: Any) -> None:
    ends_s = time.monotonic() + 15
    while not found():
        assert time.monotonic() < ends_s
        time.sleep(0.02)


def fresh(outside: Any, **claims: Any) -> str:
    return str(outside.id_token(iat=int(time.time()), oid="u-1", **claims))


def test_claims_become_a_user_by_expressions(configured: Any, outside: Any) -> None:
    code, info = who(configured, fresh(outside, jti="42"))
    assert code == 201
    assert info == {
        "username": "olga@a",
        "uid": "u-1",
        "groups": ["x:devs", "system:authenticated"],
        "extra": {
            "example.com/tenant": ["a"],
            "authentication.kubernetes.io/credential-id": ["JTI=42"],
        },
    }


@pytest.mark.parametrize(
    "claims",
    [{"exp": 9_999_999_999}, {"tenant": "b"}, {"sub": "system:x"}, {"groups": 7}, {"aud": "no"}],
)
def test_rules_about_claims_and_users_refuse(
    configured: Any, outside: Any, claims: dict[str, Any]
) -> None:
    assert who(configured, fresh(outside, **claims))[0] == 401


def test_anonymous_users_reach_the_paths_that_are_named(configured: Any) -> None:
    assert configured.raw("GET", "/livez", anonymous=True)[0] == 200
    assert configured.raw("GET", "/version", anonymous=True)[0] == 401


def test_a_webhook_is_asked_where_its_conditions_hold(configured: Any, outside: Any) -> None:
    headers = {"Authorization": "Bearer webhooks-own"}

    def get(path: str) -> int:
        return int(configured.raw("GET", path, headers=headers, anonymous=True)[0])

    asked = outside.calls("/authorize")
    assert get("/api/v1/namespaces/default/secrets") == 200
    assert outside.calls("/authorize") == asked + 1
    assert get("/api/v1/namespaces/kube-system/secrets") == 403
    assert get("/metrics") == 403  # no resource: the first condition is false, the second an error
    assert outside.calls("/authorize") == asked + 1


def test_files_are_read_anew_and_bad_ones_are_not_used(configured: Any, outside: Any) -> None:
    authn, authz = configured.folder / "authn.yaml", configured.folder / "authz.yaml"
    problems = configured.server._files
    path = "/api/v1/namespaces/default/secrets"
    headers = {"Authorization": "Bearer webhooks-own"}

    def status() -> int:
        return int(configured.raw("GET", path, headers=headers, anonymous=True)[0])

    authn.write_text(authentication(outside, groups="claims."))
    until(lambda: any("compilation failed" in file.problem for file in problems))
    assert who(configured, fresh(outside))[1]["groups"][0] == "x:devs"
    authn.write_text(authentication(outside, groups="['all']"))
    until(lambda: who(configured, fresh(outside))[1]["groups"][0] == "all")
    webhook = str(configured.folder / "webhook-authorize")
    allow = {"type": "AlwaysAllow", "name": "everybody"}
    authz.write_text(authorization(webhook, "NoOpinion", allow))
    until(lambda: any("AlwaysAllow cannot come or go" in file.problem for file in problems))
    nowhere = configured.folder / "nowhere"
    nowhere.write_text(Path(webhook).read_text().replace(outside.url, "https://127.0.0.1:1"))
    authz.write_text(authorization(str(nowhere), "Deny"))
    until(lambda: status() == 403)
    body = configured.raw("GET", path, headers=headers, anonymous=True)[2]
    assert json.loads(body)["message"].endswith("outside: webhook failed")
