"""Certificate signing requests."""

from __future__ import annotations

import base64
import binascii

from cluster.machinery.validation import formats
from cluster.machinery.validation.field import Errors, Object

MIN_EXPIRATION_S = 600
_HEADER = b"-----BEGIN CERTIFICATE REQUEST-----"
_FOOTER = b"-----END CERTIFICATE REQUEST-----"
_USAGES = frozenset(
    {"signing", "digital signature", "content commitment", "key encipherment", "key agreement",
     "data encipherment", "cert sign", "crl sign", "encipher only", "decipher only", "any",
     "server auth", "client auth", "code signing", "email protection", "s/mime",
     "ipsec end system", "ipsec tunnel", "ipsec user", "timestamping", "ocsp signing",
     "microsoft sgc", "netscape sgc"}
)  # fmt: skip


def validate(obj: Object, errors: Errors) -> None:
    """A request in PEM, a signer, usages that are known."""
    spec = obj.get("spec") or {}
    _request(spec.get("request") or "", errors)
    usages = spec.get("usages") or []
    if not usages:
        errors.required("spec.usages")
    for at, usage in enumerate(usages):
        if usage not in _USAGES:
            errors.not_supported(f"spec.usages[{at}]", usage, sorted(_USAGES))
        if usage in usages[:at]:
            errors.duplicate(f"spec.usages[{at}]", usage)
    _signer(spec.get("signerName") or "", errors)
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < MIN_EXPIRATION_S:
        text = "may not specify a duration less than 600 seconds (10 minutes)"
        errors.invalid("spec.expirationSeconds", seconds, text)
    _conditions((obj.get("status") or {}).get("conditions") or [], errors)


def _request(text: str, errors: Errors) -> None:
    try:
        pem = base64.b64decode(text, validate=True).strip()
    except (binascii.Error, ValueError):
        pem = b""
    if not pem.startswith(_HEADER) or not pem.endswith(_FOOTER):
        errors.invalid("spec.request", text, "PEM block type must be CERTIFICATE REQUEST")


def _signer(name: str, errors: Errors) -> None:
    if not name:
        errors.required("spec.signerName")
        return
    domain, slash, rest = name.partition("/")
    if not slash or not rest:
        text = 'must be a fully qualified domain and path of the form "example.com/signer-name"'
        errors.invalid("spec.signerName", name, text)
        return
    errors.all_invalid("spec.signerName", domain, formats.subdomain(domain))
    if "." not in domain:
        text = "should be a domain with at least two segments separated by dots"
        errors.invalid("spec.signerName", domain, text)


def _conditions(conditions: list[Object], errors: Errors) -> None:
    types: list[str] = []
    for at, condition in enumerate(conditions):
        path, type_ = f"status.conditions[{at}]", condition.get("type") or ""
        if not type_:
            errors.required(f"{path}.type")
        if type_ in types:
            errors.duplicate(f"{path}.type", type_)
        types.append(type_)
        status = condition.get("status")
        if not status:
            errors.required(f"{path}.status")
        elif type_ in ("Approved", "Denied", "Failed") and status != "True":
            errors.not_supported(f"{path}.status", status, ("True",))
    if {"Approved", "Denied"} <= set(types):
        text = "Approved and Denied conditions are mutually exclusive"
        errors.invalid("status.conditions", types, text)


def validate_update(new: Object, old: Object, errors: Errors) -> None:
    """What has been decided, and what has been signed, stays."""
    before, after = old.get("status") or {}, new.get("status") or {}
    kept = {c.get("type") for c in after.get("conditions") or ()}
    for condition in before.get("conditions") or ():
        type_ = condition.get("type")
        if type_ in ("Approved", "Denied", "Failed") and type_ not in kept:
            text = f'updates may not remove a condition of type "{type_}"'
            errors.forbidden("status.conditions", text)
    if before.get("certificate") and after.get("certificate") != before["certificate"]:
        text = "updates may not change an existing certificate"
        errors.forbidden("status.certificate", text)
