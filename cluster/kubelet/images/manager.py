"""When a pod's image is used as it is here and when it is pulled, with upstream's reasons.

A pull goes on beside the pod's own task, so that a pod can be deleted meanwhile. Failures are
backed off by pod and image, 10 s doubling to 300 s unless the node says otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.seams import Clock
from cluster.kubelet.backoff import Limits
from cluster.kubelet.images import credentials
from cluster.kubelet.images.names import InvalidName, parse
from cluster.kubelet.runtimes.images import (
    HOST_IMAGE,
    Credentials,
    Image,
    ImageService,
    PullFailed,
)

Object = dict[str, Any]
_ON_ITS_WAY = ("ContainerCreating", "", 60.0)
Tell = Callable[[str, str, str], None]
"""An event of the pod: type, reason, message."""


class ImageNotReady(Exception):
    """The container waits, with this reason, and is to be tried again after a while."""

    def __init__(self, reason: str, message: str, retry_s: float) -> None:
        super().__init__(message)
        self.reason, self.message, self.retry_s = reason, message, retry_s


@dataclass(frozen=True)
class Request:
    """The next start of one container. `secrets` gives the pull secrets that are there.

    `changed` is called when a pull has ended, well or not: ask again.
    """

    pod_uid: str
    container: str
    attempt: int
    image: str
    policy: str
    secrets: Callable[[], Awaitable[Sequence[Object]]] = field(compare=False)
    changed: Callable[[], None] = field(compare=False)

    @classmethod
    def of(
        cls,
        pod: Object,
        container: Object,
        attempt: int,
        fetch: Callable[[Sequence[str]], Awaitable[Mapping[Any, Object | None]]],
        changed: Callable[[], None],
    ) -> Request:
        """`fetch` gives Secrets of the pod's namespace by their names."""
        names = [each.get("name", "") for each in pod["spec"].get("imagePullSecrets") or ()]

        async def secrets() -> Sequence[Object]:
            found = await fetch(names) if names else {}
            return [secret for secret in found.values() if secret is not None]

        image = container.get("image") or ""
        uid, name = pod["metadata"]["uid"], container["name"]
        return cls(uid, name, attempt, image, policy_of(container), secrets, changed)

    @property
    def key(self) -> tuple[str, str, int]:
        return self.pod_uid, self.container, self.attempt


@dataclass(frozen=True)
class _Failed:
    message: str
    until_s: float
    delay_s: float
    told: bool = False


def policy_of(container: Mapping[str, Any]) -> str:
    """As the API server has defaulted it, or would."""
    given = container.get("imagePullPolicy")
    if given:
        return str(given)
    try:
        return "Always" if parse(container.get("image") or "").tag == "latest" else "IfNotPresent"
    except InvalidName:
        return "IfNotPresent"


class ImageManager:
    def __init__(self, service: ImageService, clock: Clock, limits: Limits) -> None:
        self._service, self._clock, self._limits = service, clock, limits
        self._pulls: dict[tuple[str, str, int], asyncio.Task[Image]] = {}
        self._failed: dict[tuple[str, str], _Failed] = {}

    async def ensure(self, request: Request, tell: Tell) -> Image:
        """The image, if it is here as the policy wants it. Raises ImageNotReady."""
        if request.key in self._pulls:
            return self._finished(request, tell)
        found = await self._present(request, tell)
        if found is not None and (request.policy != "Always" or found == HOST_IMAGE):
            if found != HOST_IMAGE:
                text = f'Container image "{request.image}" already present on machine'
                tell("Normal", "Pulled", text)
            return found
        if request.policy == "Never":
            text = f'Container image "{request.image}" is not present with pull policy of Never'
            tell("Warning", "ErrImageNeverPull", text)
            raise self._not_ready(tell, "ErrImageNeverPull", text)
        self._hold_back(request, tell)
        tell("Normal", "Pulling", f'Pulling image "{request.image}"')
        task = asyncio.create_task(self._pull(request), name=f"pull {request.image}")
        self._pulls[request.key] = task
        task.add_done_callback(lambda _: request.changed())
        raise ImageNotReady(*_ON_ITS_WAY)

    async def _present(self, request: Request, tell: Tell) -> Image | None:
        try:
            parse(request.image)
        except InvalidName as error:
            text = f'Failed to apply default image tag "{request.image}": {error}'
            tell("Warning", "InspectFailed", text)
            raise self._not_ready(tell, "InvalidImageName", text) from None
        try:
            return await self._service.find(request.image)
        except PullFailed as error:
            text = f'Failed to inspect image "{request.image}": {error}'
            tell("Warning", "InspectFailed", text)
            raise self._not_ready(tell, "ImageInspectError", text) from None

    def _hold_back(self, request: Request, tell: Tell) -> None:
        failed = self._failed.get((request.pod_uid, request.image))
        now_s = self._clock.wall()
        if failed is None or now_s >= failed.until_s:
            return
        text = f'Back-off pulling image "{request.image}"'
        if not failed.told:
            tell("Normal", "BackOff", text)
            told = _Failed(failed.message, failed.until_s, failed.delay_s, told=True)
            self._failed[request.pod_uid, request.image] = told
        whole = f"{text}: ErrImagePull: {failed.message}"
        if not failed.told:
            tell("Warning", "Failed", "Error: ImagePullBackOff")
        raise ImageNotReady("ImagePullBackOff", whole, failed.until_s - now_s)

    async def _pull(self, request: Request) -> Image:
        """With each of the pod's credentials that fit, then as nobody in particular."""
        known: list[Credentials | None] = []
        known += credentials.of_secrets(await request.secrets(), parse(request.image))
        failure = PullFailed("no credentials")
        for each in known or [None]:
            try:
                return await self._service.pull(request.image, each)
            except PullFailed as error:
                failure = error
        raise failure

    def _finished(self, request: Request, tell: Tell) -> Image:
        if not self._pulls[request.key].done():
            raise ImageNotReady(*_ON_ITS_WAY)
        task = self._pulls.pop(request.key)
        place = (request.pod_uid, request.image)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            self._failed.pop(place, None)
            image = task.result()
            size = f"Image size: {image.size_bytes} bytes."
            tell("Normal", "Pulled", f'Successfully pulled image "{request.image}". {size}')
            return image
        before = self._failed.get(place)
        delay_s = min(before.delay_s * 2, self._limits.max_s) if before else self._limits.initial_s
        self._failed[place] = _Failed(str(error), self._clock.wall() + delay_s, delay_s)
        tell("Warning", "Failed", f'Failed to pull image "{request.image}": {error}')
        raise self._not_ready(tell, "ErrImagePull", str(error), delay_s / 2)

    def _not_ready(
        self, tell: Tell, reason: str, message: str, retry_s: float | None = None
    ) -> ImageNotReady:
        tell("Warning", "Failed", f"Error: {reason}")
        retry_s = self._limits.initial_s if retry_s is None else retry_s
        return ImageNotReady(reason, message, retry_s)

    async def forget(self, pod_uid: str) -> None:
        """The pod goes: its pulls end, what has come stays for the next one."""
        for key in [key for key in self._failed if key[0] == pod_uid]:
            del self._failed[key]
        await self._cancel([key for key in self._pulls if key[0] == pod_uid])

    async def stop(self) -> None:
        await self._cancel(list(self._pulls))

    async def _cancel(self, keys: Sequence[tuple[str, str, int]]) -> None:
        tasks = [self._pulls.pop(key) for key in keys]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
