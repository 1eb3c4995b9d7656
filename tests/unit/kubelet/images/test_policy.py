"""When images are pulled, what is told of it, and which go when the disk is full."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from cluster.kubelet.backoff import Limits
from cluster.kubelet.images import collection, reporting
from cluster.kubelet.images.collection import Disk, ImageCollector, Seen, Thresholds
from cluster.kubelet.images.manager import ImageManager, ImageNotReady, Request, policy_of
from cluster.kubelet.runtimes.images import HOST_IMAGE, Credentials, Image, PullFailed

HERE = Image("sha256:1", tags=("docker.io/library/app:1",), size_bytes=100)


class Service:
    def __init__(self, *images: Image) -> None:
        self.images = {each.tags[0] if each.tags else each.id: each for each in images}
        self.failures: list[str] = []
        self.gate: asyncio.Event | None = None
        self.pulled: list[str] = []
        self.used: set[str] = set()

    async def find(self, reference: str) -> Image | None:
        return self.images.get(reference)

    async def pull(self, reference: str, credentials: Credentials | None) -> Image:
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            raise PullFailed(self.failures.pop(0))
        self.pulled.append(credentials.username if credentials else "")
        self.images[reference] = HERE
        return HERE

    async def list(self) -> list[Image]:
        return list(self.images.values())

    async def remove(self, image_id: str) -> None:
        self.images = {key: each for key, each in self.images.items() if each.id != image_id}

    async def in_use(self) -> set[str]:
        return self.used


class Clock:
    now_s = 1000.0

    def wall(self) -> float:
        return self.now_s

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} of the clock is not for these tests")


class Pod:
    """One container that wants an image."""

    def __init__(self, service: Service, image: str, policy: str = "IfNotPresent") -> None:
        self.clock, self.events = Clock(), list[str]()
        self.manager = ImageManager(service, self.clock, Limits(10, 300))
        self.image, self.policy, self.changed = image, policy, asyncio.Event()

    async def _secrets(self) -> Sequence[dict[str, Any]]:
        return []

    async def ask(self) -> str:
        """The reason why it has to wait; "" if it has the image."""
        rest = (self._secrets, self.changed.set)
        request = Request("uid", "main", 0, self.image, self.policy, *rest)
        try:
            await self.manager.ensure(request, lambda *event: self.events.append(" ".join(event)))
        except ImageNotReady as waits:
            return f"{waits.reason} {waits.retry_s:g}"
        return ""

    async def pulled(self) -> str:
        """Ask, wait for the pull, and ask again."""
        assert await self.ask() == "ContainerCreating 60"
        await self.changed.wait()
        self.changed.clear()
        return await self.ask()


def test_an_image_that_is_here_is_used_unless_always() -> None:
    async def run() -> None:
        pod = Pod(Service(HERE), HERE.tags[0])
        assert await pod.ask() == ""
        name = HERE.tags[0]
        assert pod.events == [f'Normal Pulled Container image "{name}" already present on machine']
        service = Service(HERE)
        assert await Pod(service, name, "Always").pulled() == ""
        assert service.pulled == [""]

    asyncio.run(run())


def test_never_and_impossible_names_have_their_reasons() -> None:
    async def run() -> None:
        pod = Pod(Service(), "app:1", "Never")
        assert await pod.ask() == "ErrImageNeverPull 10"
        assert any("is not present with pull policy of Never" in each for each in pod.events)
        assert "Warning Failed Error: ErrImageNeverPull" in pod.events
        assert await Pod(Service(), "a:b:c").ask() == "InvalidImageName 10"

    asyncio.run(run())


def test_failures_are_backed_off_and_forgotten_after_a_success() -> None:
    async def run() -> None:
        service = Service()
        service.failures = ["no route", "no route"]
        pod = Pod(service, "app:1")
        assert await pod.pulled() == "ErrImagePull 5"
        assert await pod.ask() == "ImagePullBackOff 10"
        pod.clock.now_s += 9
        assert await pod.ask() == "ImagePullBackOff 1"
        assert sum("Normal BackOff" in each for each in pod.events) == 1
        pod.clock.now_s += 1
        assert await pod.pulled() == "ErrImagePull 10"
        pod.clock.now_s += 20
        assert await pod.pulled() == ""
        assert 'Warning Failed Failed to pull image "app:1": no route' in pod.events
        assert pod.events[-1].startswith('Normal Pulled Successfully pulled image "app:1"')

    asyncio.run(run())


def test_a_pod_that_goes_ends_its_pull() -> None:
    async def run() -> None:
        service = Service()
        service.gate = asyncio.Event()
        pod = Pod(service, "app:1")
        assert await pod.ask() == "ContainerCreating 60"
        assert await pod.ask() == "ContainerCreating 60"
        await pod.manager.forget("uid")
        service.gate.set()
        await asyncio.sleep(0)
        assert service.pulled == []

    asyncio.run(run())


def test_the_hosts_files_are_never_pulled() -> None:
    async def run() -> None:
        service = Service()
        service.images["app"] = HOST_IMAGE
        pod = Pod(service, "app", "Always")
        assert await pod.ask() == ""
        assert (pod.events, service.pulled) == ([], [])

    asyncio.run(run())


def test_the_policy_that_is_not_given_depends_on_the_tag() -> None:
    assert policy_of({"image": "a"}) == "Always"
    assert policy_of({"image": "a:latest"}) == "Always"
    assert policy_of({"image": "a:1"}) == "IfNotPresent"
    assert policy_of({"image": "a", "imagePullPolicy": "Never"}) == "Never"


def image(name: str, size_bytes: int = 10, **more: Any) -> Image:
    return Image(f"sha256:{name}", tags=(name,), size_bytes=size_bytes, **more)


def test_images_go_in_the_order_of_their_last_use() -> None:
    images = [image("new"), image("used"), image("old"), image("never"), image("kept", pinned=True)]
    seen = {
        "sha256:new": Seen(990),
        "sha256:used": Seen(0, 1000),
        "sha256:old": Seen(0, 500),
        "sha256:never": Seen(1),
        "sha256:kept": Seen(0),
    }
    found = collection.choose(images, {"used"}, seen, 1000, 120)
    assert [each.tags[0] for each in found] == ["never", "old"]


@pytest.mark.parametrize(("used", "excess"), [(84, 0), (85, 5), (100, 20)])
def test_nothing_goes_below_the_high_threshold(used: int, excess: int) -> None:
    assert Disk(100, 100 - used).excess_bytes(Thresholds()) == excess


def test_a_full_disk_loses_what_is_not_used_and_says_if_that_is_not_enough() -> None:
    async def run() -> None:
        service, clock, told = Service(image("a"), image("b"), image("c")), Clock(), list[str]()
        service.used = {"sha256:b"}
        collector = ImageCollector(
            service, clock, lambda: Disk(100, 5), Thresholds(), lambda *text: told.append(text[0])
        )
        assert await collector.collect() == 0, "they have only just come"
        assert told == ["FreeDiskSpaceFailed"]
        clock.now_s += 121
        assert await collector.collect() == 20
        assert list(service.images) == ["b"]
        assert await collector.free(5) == 0

    asyncio.run(run())


def test_the_node_tells_its_largest_images() -> None:
    found = reporting.of_node([image(f"i{n}", n) for n in range(80)])
    assert len(found) == 50
    assert found[0] == {"names": ["i79"], "sizeBytes": 79}
