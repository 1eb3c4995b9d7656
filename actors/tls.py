"""TLS contexts from files, for links in which both sides prove who they are."""

from __future__ import annotations

import ssl
from collections.abc import Mapping


def server_context(files: Mapping[str, str], *, require_client: bool = True) -> ssl.SSLContext:
    """A server's context. `files`: paths under `ca`, `cert` and `key` (PEM)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(context, files)
    context.verify_mode = ssl.CERT_REQUIRED if require_client else ssl.CERT_OPTIONAL
    return context


def client_context(files: Mapping[str, str]) -> ssl.SSLContext:
    """A client's context; `cert` and `key` may be missing where no client identity is needed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _load(context, files)
    return context


def _load(context: ssl.SSLContext, files: Mapping[str, str]) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(files["ca"])
    if files.get("cert"):
        context.load_cert_chain(files["cert"], files["key"])
