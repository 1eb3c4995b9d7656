"""Certificate requests, from a key to a certificate that the API server knows its user by."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cluster.client import Client, ClientConfig
from cluster.machinery.status import ApiError

REQUESTS = "certificatesigningrequests.certificates.k8s.io"
ME = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}


def csr(user, groups=(), key=None, names=()):
    key = key or ec.generate_private_key(ec.SECP256R1())
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, user)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        found = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(found, critical=False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return base64.b64encode(pem).decode()


def request(name, pem, signer="kube-apiserver-client", usages=("client auth",)):
    spec = {"request": pem, "signerName": f"kubernetes.io/{signer}", "usages": list(usages)}
    kind = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
    return {**kind, "metadata": {"name": name}, "spec": spec}


def pem_of(key):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


async def signing_manager(plane):
    pair = plane.authority.pair
    files = {"certificate": plane.folder / "ca.crt", "key": plane.folder / "ca.key"}
    files["certificate"].write_bytes(pair.certificate)
    files["key"].write_bytes(pair.key)
    await plane.manager(signing={part: str(path) for part, path in files.items()})


async def approve(plane, name):
    found = await plane.client.get(REQUESTS, name)
    condition = {"type": "Approved", "status": "True", "reason": "Test", "message": "yes"}
    found.setdefault("status", {})["conditions"] = [condition]
    await plane.client.update(REQUESTS, found, subresource="approval")


async def status_of(plane, name, part):
    async def there():
        return (await plane.client.get(REQUESTS, name)).get("status", {}).get(part)

    return await plane.until(there)


def test_an_approved_request_becomes_a_certificate_that_names_its_user(control_plane):
    async def scenario(plane):
        await signing_manager(plane)
        key = ec.generate_private_key(ec.SECP256R1())
        await plane.client.create(REQUESTS, request("jane", csr("jane", ["devs"], key)))
        await approve(plane, "jane")
        signed = base64.b64decode(await status_of(plane, "jane", "certificate")).decode()
        ca = plane.authority.pair.certificate.decode()
        config = ClientConfig((plane.url,), ca, signed, pem_of(key))
        client = Client(config, plane.seams, "jane")
        answer = await client.create("selfsubjectreviews.authentication.k8s.io", ME)
        await client.close()
        groups = ["devs", "system:authenticated"]
        assert answer["status"]["userInfo"] == {"username": "jane", "groups": groups}

    control_plane(scenario)


def test_what_a_signer_does_not_sign_fails_with_a_reason(control_plane):
    async def scenario(plane):
        await signing_manager(plane)
        wrong = request("wrong", csr("system:node:a", ["other"]), "kube-apiserver-client-kubelet")
        await plane.client.create(REQUESTS, wrong)
        await approve(plane, "wrong")

        async def failed():
            found = await plane.client.get(REQUESTS, "wrong")
            conditions = found["status"]["conditions"]
            return next((c for c in conditions if c["type"] == "Failed"), None)

        condition = await plane.until(failed)
        assert condition["reason"] == "SignerValidationFailure"
        assert "organization" in condition["message"]

    control_plane(scenario)


def test_a_node_renews_its_own_certificate_without_anybody(control_plane):
    async def scenario(plane):
        await signing_manager(plane)
        files = plane.identity("system:node:n1", ["system:nodes"])
        node = Client(ClientConfig.from_dict({"servers": [plane.url], **files}), plane.seams, "n1")
        kubelet = "kube-apiserver-client-kubelet"
        mine = csr("system:node:n1", ["system:nodes"])
        await node.create(REQUESTS, request("mine", mine, kubelet))
        await status_of(plane, "mine", "certificate")
        others = csr("system:node:n2", ["system:nodes"])
        await node.create(REQUESTS, request("others", others, kubelet))
        await plane.client.create(REQUESTS, request("later", mine, kubelet))
        await node.close()
        assert "conditions" not in (await plane.client.get(REQUESTS, "others")).get("status", {})

    control_plane(scenario)


def test_nobody_asks_to_become_an_administrator(control_plane):
    async def scenario(plane):
        with pytest.raises(ApiError) as error:
            await plane.client.create(REQUESTS, request("king", csr("k", ["system:masters"])))
        assert error.value.code == 403

    control_plane(scenario)
