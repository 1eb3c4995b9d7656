"""One object of every stored resource, from `manifests/resources.yaml`."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cluster.machinery import resources

_HEAD = re.compile(r"--- # (\S+): (\S+?)=(.*)")


def _signing_request() -> str:
    """A PKCS #10 request, as it stands in spec.request."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sample")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    made = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


def _samples() -> dict[str, tuple[str, str, str]]:
    """From "v1/pods" to (manifest, dotted field, value to change it to)."""
    text = (Path(__file__).parent / "manifests/resources.yaml").read_text()
    text = text.replace("%CSR%", _signing_request())
    found: dict[str, tuple[str, str, str]] = {}
    for part in re.split(r"(?m)^(?=--- # )", text)[1:]:
        head, _, body = part.partition("\n")
        match = _HEAD.fullmatch(head)
        assert match is not None, head
        found[match[1]] = (json.dumps(yaml.safe_load(body)), match[2], match[3])
    return found


SAMPLES = _samples()


def path_of(key: str, name: str) -> str:
    """Of an object of resource "v1/pods", in namespace "default" if it has one."""
    resource = resources.find(key)
    root = f"/apis/{resource.api_version}" if resource.group else "/api/v1"
    place = "/namespaces/default" if resource.namespaced else ""
    return f"{root}{place}/{resource.plural}/{name}"
