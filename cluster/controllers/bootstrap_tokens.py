"""Bootstrap tokens: what they sign, and their end. Off unless asked for, as upstream.

Who joins a cluster knows a token and an address. They read `cluster-info` without credentials, and
believe it because the token has signed it.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import Any

from cluster.controllers.framework import Controller, Result, Watch
from cluster.controllers.removal import remove
from cluster.machinery import meta
from cluster.machinery.codec import json_codec

Object = dict[str, Any]

TYPE = "bootstrap.kubernetes.io/token"
NAMESPACE, PREFIX = "kube-system", "bootstrap-token-"
CLUSTER_INFO = "kube-public/cluster-info"
CONTENT, SIGNATURE = "kubeconfig", "jws-kubeconfig-"


class BootstrapSigner(Controller):
    """Keeps a signature of each token that may sign beside the kubeconfig of `cluster-info`."""

    name = "bootstrap-signer"
    account = "bootstrap-signer"
    workers = 1

    def watches(self) -> Sequence[Watch]:
        return [Watch("configmaps", _cluster_info), Watch("secrets", _any_token)]

    async def reconcile(self, key: str) -> Result | None:
        found = self.informers.of("configmaps").get(key)
        if found is None or CONTENT not in (found.get("data") or {}):
            return None
        tokens = [data_of(s) for s in self.informers.of("secrets").list() if is_token(s)]
        now_s = self.clock.wall()
        signing = [t for t in tokens if may_sign(t, now_s)]
        changed = copy.deepcopy(found)
        data = changed["data"]
        for name in [name for name in data if name.startswith(SIGNATURE)]:
            del data[name]
        for token in signing:
            id_, secret = token["token-id"], token["token-secret"]
            data[SIGNATURE + id_] = signature(data[CONTENT], id_, secret)
        if changed != found:
            await self.client.update("configmaps", changed)
        ends = [end for end in map(expires_s, signing) if end is not None]
        return Result(max(0.0, min(ends) - now_s)) if ends else None


class TokenCleaner(Controller):
    """Deletes tokens when their time is over."""

    name = "token-cleaner"
    account = "token-cleaner"

    def watches(self) -> Sequence[Watch]:
        return [Watch("secrets", _tokens)]

    async def reconcile(self, key: str) -> Result | None:
        secret = self.informers.of("secrets").get(key)
        if secret is None or not is_token(secret):
            return None
        ends_s = expires_s(data_of(secret))
        if ends_s is None:
            return None
        if ends_s > self.clock.wall():
            return Result(ends_s - self.clock.wall())
        await remove(self.client, "secrets", secret)
        return None


def is_token(secret: Object) -> bool:
    return secret.get("type") == TYPE and meta.namespace(secret) == NAMESPACE


def data_of(secret: Object) -> dict[str, str]:
    data = secret.get("data") or {}
    return {k: base64.b64decode(v or "").decode("utf-8", "replace") for k, v in data.items()}


def expires_s(token: dict[str, str]) -> float | None:
    """None for a token that does not end; one whose end cannot be read has ended."""
    text = token.get("expiration")
    if not text:
        return None
    try:
        return meta.parse_time(text)
    except ValueError:
        return 0.0


def may_sign(token: dict[str, str], now_s: float) -> bool:
    ends_s = expires_s(token)
    return bool(
        token.get("token-id")
        and token.get("token-secret")
        and token.get("usage-bootstrap-signing") == "true"
        and (ends_s is None or ends_s > now_s)
    )


def signature(content: str, token_id: str, secret: str) -> str:
    """A detached JWS (RFC 7515, appendix F) with HS256, without its payload."""
    head = _encoded(json_codec.encode({"alg": "HS256", "kid": token_id}))
    signed = f"{head}.{_encoded(content.encode())}".encode()
    mac = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return f"{head}..{_encoded(mac)}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _cluster_info(found: Object) -> Iterable[str]:
    return [CLUSTER_INFO] if meta.key(found) == CLUSTER_INFO else []


def _any_token(secret: Object) -> Iterable[str]:
    return [CLUSTER_INFO] if is_token(secret) else []


def _tokens(secret: Object) -> Iterable[str]:
    return [meta.key(secret)] if is_token(secret) else []
