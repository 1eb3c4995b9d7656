"""Legacy tokens that nobody uses: first made invalid, then deleted with their secrets.

Only those that were made by themselves (their account lists them) and that no pod mounts. The API
server notes the day of a token's last use; it is known since when it does so.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

from cluster.controllers.framework import Context, Controller, Result, Watch
from cluster.controllers.removal import remove
from cluster.machinery import meta

Object = dict[str, Any]

TYPE = "kubernetes.io/service-account-token"
ACCOUNT = "kubernetes.io/service-account.name"
TRACKING = "kube-system/kube-apiserver-legacy-service-account-token-tracking"
LAST_USED = "kubernetes.io/legacy-token-last-used"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
PERIOD_S = 365 * 86400.0
LOOK_S = 86400.0


class LegacyTokenCleaner(Controller):
    """Config: `legacy_token_period_s` (a year), upstream's clean-up period."""

    name = "legacy-serviceaccount-token-cleaner"
    account = "legacy-service-account-token-cleaner"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._period_s = float(context.config.get("legacy_token_period_s") or PERIOD_S)

    def watches(self) -> Sequence[Watch]:
        return [
            Watch("secrets", _of_type),
            Watch("serviceaccounts", lambda _: ()),
            Watch("pods", lambda _: ()),
            Watch("configmaps", self._all),
        ]

    def _all(self, found: Object) -> Iterable[str]:
        """What is tracked has become known."""
        if meta.key(found) == TRACKING:
            for secret in self.informers.of("secrets").list():
                yield from _of_type(secret)

    async def reconcile(self, key: str) -> Result | None:
        secret = self.informers.of("secrets").get(key)
        if secret is None or secret.get("type") != TYPE or not self._concerns(secret):
            return None
        now_s = self.clock.wall()
        if not self._unused(secret, now_s):
            return Result(LOOK_S)
        labels = secret["metadata"].get("labels") or {}
        since_s = _day_s(labels.get(INVALID_SINCE))
        if since_s is None:
            today = datetime.datetime.fromtimestamp(now_s, datetime.UTC).strftime("%Y-%m-%d")
            await self._label(secret, today)
        elif since_s + self._period_s <= now_s:
            await remove(self.client, "secrets", secret)
            return None
        return Result(LOOK_S)

    def _concerns(self, secret: Object) -> bool:
        """Made by itself, and not mounted."""
        namespace, name = meta.namespace(secret), secret["metadata"]["name"]
        account = (secret["metadata"].get("annotations") or {}).get(ACCOUNT, "")
        found = self.informers.of("serviceaccounts").get(f"{namespace}/{account}") or {}
        if name not in [each.get("name") for each in found.get("secrets") or ()]:
            return False
        return not any(
            (volume.get("secret") or {}).get("secretName") == name
            for pod in self.informers.of("pods").list()
            if meta.namespace(pod) == namespace
            for volume in pod["spec"].get("volumes") or ()
        )

    def _unused(self, secret: Object, now_s: float) -> bool:
        """For a whole period, all of which has been watched."""
        tracking = self.informers.of("configmaps").get(TRACKING) or {}
        times = [
            _day_s((tracking.get("data") or {}).get("since")),
            meta.parse_time(secret["metadata"]["creationTimestamp"]),
        ]
        used = (secret["metadata"].get("labels") or {}).get(LAST_USED)
        if used:
            times.append(_day_s(used))
        return all(time is not None and time + self._period_s <= now_s for time in times)

    async def _label(self, secret: Object, day: str) -> None:
        metadata = secret["metadata"]
        patch = {
            "metadata": {
                "resourceVersion": metadata["resourceVersion"],
                "labels": {INVALID_SINCE: day},
            }
        }
        await self.client.patch("secrets", metadata["name"], patch, metadata["namespace"])


def _of_type(secret: Object) -> Iterable[str]:
    return [meta.key(secret)] if secret.get("type") == TYPE else []


def _day_s(text: str | None) -> float | None:
    try:
        found = datetime.datetime.strptime(text or "", "%Y-%m-%d")
    except ValueError:
        return None
    return found.replace(tzinfo=datetime.UTC).timestamp()
