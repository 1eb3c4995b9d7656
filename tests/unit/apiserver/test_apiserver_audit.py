from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_fixture import RunningApi

from cluster.apiserver.audit.log_file import AuditLog
from cluster.apiserver.audit.policy import Policy
from cluster.apiserver.authn.user import User
from cluster.apiserver.authz.attributes import Attributes

POLICY: dict[str, Any] = {
    "kind": "Policy",
    "apiVersion": "audit.k8s.io/v1",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "users": ["system:kube-proxy"], "verbs": ["watch"]},
        {"level": "None", "nonResourceURLs": ["/healthz*", "/version"]},
        {"level": "Metadata", "resources": [{"group": "", "resources": ["secrets"]}]},
        {
            "level": "RequestResponse",
            "omitManagedFields": True,
            "resources": [{"group": "", "resources": ["configmaps"]}],
        },
        {"level": "Request", "resources": [{"group": "", "resources": ["pods/*"]}]},
        {"level": "Metadata", "userGroups": ["system:authenticated"]},
    ],
}


@pytest.mark.parametrize(
    ("asked", "level"),
    [
        (Attributes(User("system:kube-proxy"), "watch", resource="pods"), "None"),
        (Attributes(User("u"), "get", "/healthz/etcd"), "None"),
        (Attributes(User("u"), "get", resource="secrets"), "Metadata"),
        (Attributes(User("u"), "create", resource="configmaps"), "RequestResponse"),
        (Attributes(User("u"), "get", resource="configmaps", group="other"), "None"),
        (Attributes(User("u"), "get", resource="pods", subresource="log"), "Request"),
        (Attributes(User("u"), "get", resource="pods"), "None"),
        (Attributes(User("u", ("system:authenticated",)), "get", resource="pods"), "Metadata"),
    ],
)
def test_the_first_rule_that_fits_decides(asked: Attributes, level: str) -> None:
    assert Policy(POLICY).of(asked).level == level


def test_a_policy_with_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="Everything"):
        Policy({**POLICY, "rules": [{"level": "Everything"}]})


def test_requests_are_noted_as_the_policy_says(tmp_path: Path) -> None:
    policy, log = tmp_path / "policy.yaml", tmp_path / "audit.log"
    policy.write_text(yaml.safe_dump(POLICY))
    api = RunningApi(tmp_path, audit={"policy": str(policy), "log": str(log)})
    maps, secrets = (f"/api/v1/namespaces/default/{kind}" for kind in ("configmaps", "secrets"))
    for path, kind in ((maps, "ConfigMap"), (secrets, "Secret")):
        obj = {"kind": kind, "apiVersion": "v1", "metadata": {"name": "x"}, "data": {"k": "dg=="}}
        code, headers, _ = api.raw(
            "POST",
            path,
            json.dumps(obj).encode(),
            {"Content-Type": "application/json", "Audit-ID": f"id-of-{kind}"},
        )
        assert (code, headers["audit-id"]) == (201, f"id-of-{kind}")
    api.raw("GET", maps, anonymous=True)
    watch = f"{maps}?watch=true&resourceVersion=0&timeoutSeconds=1"
    api.raw("GET", watch)
    api.close()
    events = [json.loads(line) for line in log.read_text().splitlines()]
    of = {e["auditID"]: e for e in events}
    written, hidden = of["id-of-ConfigMap"], of["id-of-Secret"]
    assert written["requestObject"]["data"] == {"k": "dg=="}
    assert written["responseObject"]["metadata"]["uid"]
    assert "managedFields" not in written["responseObject"]["metadata"]
    assert written["objectRef"] == {
        "resource": "configmaps",
        "namespace": "default",
        "apiVersion": "v1",
    }
    assert written["user"]["username"] == "admin"
    assert written["sourceIPs"] == ["127.0.0.1"]
    assert written["annotations"]["authorization.k8s.io/decision"] == "allow"
    assert not {"requestObject", "responseObject"} & set(hidden)
    (refused,) = [e for e in events if e["user"]["username"] == "system:anonymous"]
    assert refused["responseStatus"]["reason"] == "Forbidden"
    assert refused["annotations"]["authorization.k8s.io/decision"] == "forbid"
    stages = [e["stage"] for e in events if e["verb"] == "watch"]
    assert stages == ["ResponseStarted", "ResponseComplete"]
    assert not any(e["stage"] == "RequestReceived" for e in events)


def test_the_log_is_rotated_and_bounded(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"

    async def run() -> None:
        written = AuditLog({"log": str(log), "max_size_bytes": 100, "max_backups": 2})
        for number in range(6):
            written.put({"number": number, "text": "x" * 60})
            await written.stop()

    asyncio.run(run())
    held = {path.name: json.loads(path.read_text())["number"] for path in tmp_path.iterdir()}
    assert held == {"audit.log": 5, "audit.log.1": 4, "audit.log.2": 3}
