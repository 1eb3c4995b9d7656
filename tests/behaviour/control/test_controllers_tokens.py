"""Bootstrap tokens sign and end; legacy tokens that nobody uses are taken away."""

import base64
import datetime
import hashlib
import hmac
import json

import pytest

from cluster.client import Client, ClientConfig
from cluster.controllers import legacy_tokens
from cluster.machinery import meta
from cluster.machinery.status import ApiError

INFO = {"kubeconfig": "apiVersion: v1\nkind: Config\n"}


def token(id_, secret="0123456789abcdef", **more):
    data = {"token-id": id_, "token-secret": secret, "usage-bootstrap-signing": "true", **more}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": f"bootstrap-token-{id_}", "namespace": "kube-system"},
        "stringData": data,
    }


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def verified(signature, content, secret):
    head, empty, mac = signature.split(".")
    signed = f"{head}.{base64.urlsafe_b64encode(content.encode()).rstrip(b'=').decode()}"
    wanted = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
    return (json.loads(decoded(head)), empty, hmac.compare_digest(decoded(mac), wanted))


def test_tokens_sign_the_cluster_info_until_they_end(control_plane):
    async def test(plane):
        await plane.manager(controllers=["bootstrap-signer", "token-cleaner"])
        body = {"apiVersion": "v1", "kind": "ConfigMap", "data": INFO}
        metadata = {"name": "cluster-info", "namespace": "kube-public"}
        await plane.client.create("configmaps", {**body, "metadata": metadata})
        await plane.client.create("secrets", token("aaaaaa"))
        ends = meta.format_time(plane.seams.clock.wall() + 3)
        await plane.client.create("secrets", token("bbbbbb", expiration=ends))
        silent = token("cccccc", **{"usage-bootstrap-signing": "false"})
        await plane.client.create("secrets", silent)

        def signed_by(*ids):
            async def check():
                found = await plane.client.get("configmaps", "cluster-info", "kube-public")
                data = found["data"]
                return (
                    data if {*data} == {"kubeconfig", *(f"jws-kubeconfig-{i}" for i in ids)} else 0
                )

            return check

        data = await plane.until(signed_by("aaaaaa", "bbbbbb"))
        head = {"alg": "HS256", "kid": "aaaaaa"}
        found = verified(data["jws-kubeconfig-aaaaaa"], data["kubeconfig"], "0123456789abcdef")
        assert found == (head, "", True)
        await plane.until(signed_by("aaaaaa"))
        await plane.gone("secrets", "bootstrap-token-bbbbbb", "kube-system")
        await plane.client.delete("secrets", "bootstrap-token-aaaaaa", "kube-system")
        await plane.until(signed_by())

    control_plane(test)


def test_a_legacy_token_is_noted_when_used_and_taken_away_when_not(control_plane, monkeypatch):
    monkeypatch.setattr(legacy_tokens, "LOOK_S", 0.2)

    async def test(plane):
        manager = {"service_account_key": plane.account_key, "legacy_token_period_s": 0.001}
        await plane.manager(
            controllers=["serviceaccount-token", "legacy-serviceaccount-token-cleaner"], **manager
        )
        account = {"apiVersion": "v1", "kind": "ServiceAccount"}
        named = {"metadata": {"name": "robot", "namespace": "default"}}
        await plane.client.create("serviceaccounts", {**account, **named})
        for name in ("kept", "old"):
            annotations = {"kubernetes.io/service-account.name": "robot"}
            metadata = {"name": name, "namespace": "default", "annotations": annotations}
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
            await plane.client.create("secrets", {**secret, "type": legacy_tokens.TYPE})

        async def given():
            found = await plane.client.get("secrets", "old", "default")
            return (found.get("data") or {}).get("token")

        bearer = base64.b64decode(await plane.until(given)).decode()
        ca = plane.client_config["ca"]
        robot = Client(ClientConfig((plane.url,), ca=ca, token=bearer), plane.seams, "robot")
        plane.clients.append(robot)
        who = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        review = "selfsubjectreviews.authentication.k8s.io"
        assert (await robot.create(review, who))["status"]["userInfo"]["username"].endswith("robot")
        today = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")

        async def noted():
            found = await plane.client.get("secrets", "old", "default")
            return (found["metadata"].get("labels") or {}).get(legacy_tokens.LAST_USED)

        assert await plane.until(noted) == today
        # what accounts do not list was made by hand: it stays; the other one is used no more
        listed = {"secrets": [{"name": "old"}]}
        await plane.client.patch("serviceaccounts", "robot", listed, "default")
        long_ago = {"metadata": {"labels": {legacy_tokens.LAST_USED: "2020-01-01"}}}
        await plane.client.patch("secrets", "old", long_ago, "default")
        name = legacy_tokens.TRACKING.partition("/")[2]
        since = {"data": {"since": "2020-01-01"}}
        await plane.client.patch("configmaps", name, since, "kube-system")
        await plane.gone("secrets", "old")
        assert await plane.client.get("secrets", "kept", "default")
        with pytest.raises(ApiError, match="Unauthorized"):
            await robot.create(review, who)

    control_plane(test)
