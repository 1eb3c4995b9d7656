"""A kopf operator with all that kopf has beside plain handlers: webhooks, timers, daemons."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import kopf

GROUP, VERSION, PLURAL = "kopf.example.com", "v1", "gauges"


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.persistence.finalizer = "kopf.example.com/guard"
    settings.persistence.progress_storage = kopf.StatusProgressStorage()
    settings.posting.level = 20
    if os.environ.get("WEBHOOK_CERT"):
        settings.admission.managed = "auto.kopf.dev"
        settings.admission.server = kopf.WebhookServer(
            addr="127.0.0.1", host="127.0.0.1", certfile=os.environ["WEBHOOK_CERT"],
            pkeyfile=os.environ["WEBHOOK_KEY"], cafile=os.environ["WEBHOOK_CA"],
        )  # fmt: skip


if os.environ.get("WEBHOOK_CERT"):

    @kopf.on.validate(GROUP, VERSION, PLURAL)
    def check(spec: Any, warnings: list[str], **_: Any) -> None:
        if spec.get("limit", 0) > 100:
            raise kopf.AdmissionError("the limit is at most 100", code=422)
        if spec.get("limit", 0) > 50:
            warnings.append("that is a lot")

    @kopf.on.mutate(GROUP, VERSION, PLURAL)
    def complete(spec: Any, patch: kopf.Patch, **_: Any) -> None:
        if "unit" not in spec:
            patch.spec["unit"] = "bar"


@kopf.on.create(GROUP, VERSION, PLURAL, retries=3, backoff=0.2)
def create(retry: int, **_: Any) -> dict[str, int]:
    if retry < 1:
        raise kopf.TemporaryError("not yet", delay=0.2)
    return {"tries": retry + 1}


@kopf.timer(GROUP, VERSION, PLURAL, interval=0.3)
def tick(status: Any, patch: kopf.Patch, **_: Any) -> None:
    patch.status["ticks"] = min(status.get("ticks", 0) + 1, 5)


@kopf.daemon(GROUP, VERSION, PLURAL, cancellation_timeout=5)
async def guard(stopped: Any, logger: Any, name: str, **_: Any) -> None:
    logger.info("guarding %s", name)
    while not stopped:
        await asyncio.sleep(0.1)


@kopf.on.field(GROUP, VERSION, PLURAL, field="spec.limit")
def limited(old: Any, new: Any, patch: kopf.Patch, **_: Any) -> None:
    patch.status["limits"] = f"{old}->{new}"


@kopf.on.event("", "v1", "configmaps", labels={"gauge": kopf.PRESENT})
def seen(body: Any, logger: Any, **_: Any) -> None:
    logger.info("seen %s", body["metadata"]["name"])


@kopf.index("", "v1", "configmaps", labels={"gauge": kopf.PRESENT})
def by_gauge(meta: Any, name: str, **_: Any) -> dict[str, str]:
    return {meta["labels"]["gauge"]: name}


@kopf.on.delete(GROUP, VERSION, PLURAL)
def end(name: str, by_gauge: kopf.Index[str, str], logger: Any, **_: Any) -> None:
    logger.info("end of %s with %s", name, sorted(by_gauge.get(name, [])))
