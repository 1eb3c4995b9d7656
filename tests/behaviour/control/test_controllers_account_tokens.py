"""Secrets that ask for a service account's token, the old way."""

from __future__ import annotations

import base64

from cluster.client import Client, ClientConfig

KIND = "kubernetes.io/service-account-token"
ME = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}


def test_a_secret_gets_a_token_that_lives_as_long_as_both(control_plane):
    async def scenario(plane):
        await plane.manager(service_account_key=plane.account_key, root_ca="the bundle")
        account = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "old"}}
        await plane.client.create("serviceaccounts", account, "default")
        annotations = {"kubernetes.io/service-account.name": "old"}
        metadata = {"name": "old-token", "annotations": annotations}
        secret = {"kind": "Secret", "apiVersion": "v1", "type": KIND, "metadata": metadata}
        await plane.client.create("secrets", secret, "default")

        async def filled():
            return (await plane.client.get("secrets", "old-token", "default")).get("data")

        data = await plane.until(filled)
        assert base64.b64decode(data["ca.crt"]) == b"the bundle"
        assert base64.b64decode(data["namespace"]) == b"default"
        ca = plane.client_config["ca"]
        token = base64.b64decode(data["token"]).decode()
        client = Client(ClientConfig((plane.url,), ca, token=token), plane.seams, "old")
        answer = await client.create("selfsubjectreviews.authentication.k8s.io", ME)
        assert answer["status"]["userInfo"]["username"] == "system:serviceaccount:default:old"
        await plane.client.delete("serviceaccounts", "old", "default")
        await plane.gone("secrets", "old-token")

        async def refused():
            body = b'{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}'
            path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
            return (await client.raw("POST", path, body=body)).status == 401

        await plane.until(refused)
        await client.close()

    control_plane(scenario)
