"""Tokens in secrets, the old way: a secret of the right type is given its account's token.

It holds as long as the secret and the account do, so it is made only for who asks for one.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Iterable, Sequence
from typing import Any

from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.machinery import jwt, meta
from cluster.machinery.status import ApiError

Object = dict[str, Any]

TYPE = "kubernetes.io/service-account-token"
ISSUER = "kubernetes/serviceaccount"
NAME, UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"


class ServiceAccountTokens(Controller):
    """Config: `service_account_key` (a file) signs; `root_ca` goes beside the token."""

    name = "serviceaccount-token"
    account = ""  # as upstream: with the rights of the manager itself

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        with open(context.config["service_account_key"], "rb") as file:
            self._key = jwt.SigningKey(file.read())

    def watches(self) -> Sequence[Watch]:
        return [Watch("secrets", _of_type), Watch("serviceaccounts", self._of_account)]

    def _of_account(self, account: Object) -> Iterable[str]:
        wanted = meta.namespace(account), meta.name(account)
        for secret in self.informers.of("secrets").list():
            named = (secret["metadata"].get("annotations") or {}).get(NAME)
            if secret.get("type") == TYPE and (meta.namespace(secret), named) == wanted:
                yield meta.key(secret)

    async def reconcile(self, key: str) -> Result | None:
        secret = self.informers.of("secrets").get(key)
        if secret is None or secret.get("type") != TYPE:
            return None
        annotations = secret["metadata"].get("annotations") or {}
        namespace = meta.namespace(secret)
        account = self.informers.of("serviceaccounts").get(f"{namespace}/{annotations.get(NAME)}")
        if account is None:
            account = await self._newest(namespace, annotations.get(NAME) or "")
        uid = "" if account is None else account["metadata"]["uid"]
        if account is None or annotations.get(UID) not in (None, "", uid):
            await self._delete(secret)
            return None
        wanted = self._filled(secret, account)
        if wanted != secret:
            await self.client.update("secrets", wanted)
        return None

    async def _newest(self, namespace: str, name: str) -> Object | None:
        return await self.client.find("serviceaccounts", name, namespace) if name else None

    async def _delete(self, secret: Object) -> None:
        metadata = secret["metadata"]
        try:
            await self.client.delete(
                "secrets", metadata["name"], metadata["namespace"], uid=metadata["uid"]
            )
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    def _filled(self, secret: Object, account: Object) -> Object:
        """What is there already stays."""
        new = copy.deepcopy(secret)
        new["metadata"]["annotations"][UID] = account["metadata"]["uid"]
        data = new["data"] = dict(secret.get("data") or {})
        namespace = meta.namespace(secret)
        data.setdefault("ca.crt", _encoded(self.context.config["root_ca"]))
        data.setdefault("namespace", _encoded(namespace))
        if not data.get("token"):
            data["token"] = _encoded(self._key.sign(claims(secret, account)))
        return new


def claims(secret: Object, account: Object) -> dict[str, str]:
    """Of a token that a secret holds (pure)."""
    namespace, name = meta.namespace(secret), meta.name(account)
    return {
        "iss": ISSUER,
        f"{ISSUER}/namespace": namespace,
        f"{ISSUER}/secret.name": meta.name(secret),
        f"{ISSUER}/service-account.name": name,
        f"{ISSUER}/service-account.uid": account["metadata"]["uid"],
        "sub": f"system:serviceaccount:{namespace}:{name}",
    }


def _of_type(secret: Object) -> Iterable[str]:
    return [meta.key(secret)] if secret.get("type") == TYPE else []


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
