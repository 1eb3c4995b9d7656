"""What each of Kubernetes's own signers signs, and who a request speaks for (pure)."""

from __future__ import annotations

import base64
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

Object = dict[str, Any]

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
LEGACY = "kubernetes.io/legacy-unknown"
SIGNERS = frozenset({CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY})
NODES_GROUP, NODE_PREFIX = "system:nodes", "system:node:"
ALWAYS = frozenset({"digital signature", "key encipherment"})


def request_of(obj: Object) -> x509.CertificateSigningRequest:
    """Raises ValueError if it is not one, or is not signed by its own key."""
    request = x509.load_pem_x509_csr(base64.b64decode(obj["spec"]["request"]))
    if not request.is_signature_valid:
        raise ValueError("the request is not signed by its own key")
    return request


def common_name(request: x509.CertificateSigningRequest) -> str:
    """ "" unless there is exactly one."""
    found = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if len(found) == 1 else ""


def problem(obj: Object) -> str:
    """Why the signer that the request names does not sign it; "" if it does."""
    spec = obj["spec"]
    signer, usages = spec["signerName"], frozenset(spec.get("usages") or ())
    try:
        request = request_of(obj)
    except ValueError as error:
        return f"unable to parse csr: {error}"
    if signer == CLIENT:
        return _usages(usages, "client auth")
    if signer == KUBELET_CLIENT:
        return _usages(usages, "client auth") or _node(request) or _no_names(request)
    if signer == KUBELET_SERVING:
        if spec.get("username") != common_name(request):
            return "requested by another user than the common name"
        return _usages(usages, "server auth") or _node(request) or _server_names(request)
    return ""


def _usages(usages: frozenset[str], needed: str) -> str:
    if needed not in usages:
        return f"usages must include {needed!r}"
    extra = usages - ALWAYS - {needed}
    return f"usages did not match: {', '.join(sorted(extra))}" if extra else ""


def _node(request: x509.CertificateSigningRequest) -> str:
    groups = request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    if [group.value for group in groups] != [NODES_GROUP]:
        return f"subject organization is not {NODES_GROUP}"
    if not common_name(request).startswith(NODE_PREFIX):
        return f"subject common name does not begin with {NODE_PREFIX}"
    return ""


def names(request: x509.CertificateSigningRequest) -> x509.SubjectAlternativeName | None:
    """The subject alternative names that are asked for."""
    try:
        found = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return None
    return found.value


def _no_names(request: x509.CertificateSigningRequest) -> str:
    return "subjectAltNames are not allowed" if names(request) else ""


def _server_names(request: x509.CertificateSigningRequest) -> str:
    found = names(request)
    if not found or not list(found):
        return "at least one DNS or IP subjectAltName is required"
    if any(not isinstance(name, x509.DNSName | x509.IPAddress) for name in found):
        return "URI and email subjectAltNames are not allowed"
    return ""


def is_node_client(obj: Object) -> bool:
    """Whether it asks for a kubelet's client certificate, and for nothing beyond."""
    return obj["spec"]["signerName"] == KUBELET_CLIENT and not problem(obj)


def node_of(obj: Object) -> str:
    """The node that asks; "" for another user."""
    user = str(obj["spec"].get("username") or "")
    return user.removeprefix(NODE_PREFIX) if user.startswith(NODE_PREFIX) else ""


def is_node_server(obj: Object, node: Object) -> bool:
    """Whether a node asks for a server's certificate in the names that it has, and no others."""
    if obj["spec"]["signerName"] != KUBELET_SERVING or problem(obj):
        return False
    addresses = (node.get("status") or {}).get("addresses") or ()
    own = {node["metadata"]["name"], *(str(each["address"]) for each in addresses)}
    asked = names(request_of(obj))
    return asked is not None and all(str(name.value) in own for name in asked)


def decided(obj: Object, type_: str) -> bool:
    """Whether it has this condition."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(condition.get("type") == type_ for condition in conditions)
