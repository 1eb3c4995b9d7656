"""The supervisor over the local host, with components that fail on demand."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import ClassVar

import pytest

from actors import control, discovery, overrides
from actors.component import ActorSpec, ComponentSpec, Health
from actors.errors import ActorError, HostUnavailable, NotFound
from actors.hosts.local import LocalHost
from actors.seams import system_seams
from actors.supervision import Policy
from actors.supervisor import Supervisor, stop_waves

STORY: list[str] = []
POLICY = Policy(first_delay_s=0.01, delay_max_s=0.05, probe_period_s=0.01, probe_timeout_s=0.05)


class Obedient:
    """Starts, answers and stops; `config` says what goes wrong, and how often."""

    refusals: ClassVar[dict[str, int]] = {}
    address = "127.0.0.1:1"

    async def start(self, seams, config):
        self.name = config["name"]
        if Obedient.refusals.get(self.name, 0) > 0:
            Obedient.refusals[self.name] -= 1
            raise OSError("address already in use")
        self.silent = config.get("silent", False)
        self.fails = config.get("fails", False)
        STORY.append(f"start {self.name}")

    async def stop(self):
        STORY.append(f"stop {self.name}")

    async def health(self):
        if self.silent and STORY.count(f"start {self.name}") == 1:
            await asyncio.Event().wait()
        if self.fails and STORY.count(f"start {self.name}") == 1:
            return Health(False, "the disk is gone", failed=True)
        return Health(True, "fine")


def spec(name: str, kind: str = "store", **config) -> ActorSpec:
    path = f"{__name__}:Obedient"
    return ActorSpec(name, kind, (ComponentSpec(path, {"name": name, **config}),))


def supervise(specs: list[ActorSpec], body: Callable[[Supervisor], Awaitable[None]], **options):
    async def main() -> None:
        STORY.clear()
        seams = system_seams()
        supervisor = Supervisor(
            LocalHost(seams), tuple(specs), seams.clock, policy=POLICY, **options
        )
        await supervisor.start()
        async with asyncio.timeout(10):
            await body(supervisor)
            await supervisor.stop()

    asyncio.run(main())


@pytest.fixture(autouse=True)
def _nothing_refuses():
    Obedient.refusals = {}


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def ready(supervisor: Supervisor, name: str) -> bool:
    return supervisor.picture()[name]["ready"]


def test_a_killed_actor_is_started_again():
    async def body(supervisor):
        await until(lambda: ready(supervisor, "a"))
        await supervisor.kill("a")
        await until(lambda: STORY.count("start a") == 2 and ready(supervisor, "a"))
        assert supervisor.picture()["a"]["restarts"] == 1

    supervise([spec("a")], body)


def test_an_actor_on_hold_stays_down():
    async def body(supervisor):
        await until(lambda: ready(supervisor, "a") and ready(supervisor, "b"))
        await supervisor.kill("a", hold_s=60.0)
        await until(lambda: supervisor.picture()["a"]["phase"] == "waiting")
        for _ in range(5):
            await supervisor.kill("b")
            await until(lambda: ready(supervisor, "b"))
        assert STORY.count("start a") == 1

    supervise([spec("a"), spec("b")], body)


def test_a_start_that_fails_is_tried_again_and_its_error_is_shown():
    Obedient.refusals = {"a": 3}
    seen = []

    async def body(supervisor):
        await until(lambda: ready(supervisor, "a"))

    supervise([spec("a")], body, publish=lambda picture: seen.append(picture["a"]["last_error"]))
    assert any("address already in use" in error for error in seen)


def test_an_actor_that_answers_no_probe_is_replaced():
    async def body(supervisor):
        await until(lambda: STORY.count("start a") == 2 and ready(supervisor, "a"))

    supervise([spec("a", silent=True)], body)


def test_a_component_that_says_it_has_failed_is_started_again():
    async def body(supervisor):
        await until(lambda: STORY.count("start a") == 2 and ready(supervisor, "a"))
        assert supervisor.picture()["a"]["restarts"] == 1

    supervise([spec("a", fails=True)], body)


def test_an_actor_is_started_at_once_with_other_settings_even_while_it_waits():
    Obedient.refusals = {"a": 10**9}

    async def body(supervisor):
        await until(lambda: supervisor.picture()["a"]["restarts"] == 3)
        await supervisor.configure("a", {"name": "renamed"})
        await until(lambda: ready(supervisor, "a"))
        await supervisor.configure("a", {"name": "renamed again"})
        await until(lambda: "start renamed again" in STORY and ready(supervisor, "a"))
        await supervisor.configure("a", {"name": "renamed again"})
        assert ready(supervisor, "a")
        assert STORY.count("start renamed again") == 1

    supervise([spec("a")], body)


def test_why_a_component_failed_stays_to_be_seen():
    seen = []

    async def body(supervisor):
        await until(lambda: STORY.count("start a") == 2 and ready(supervisor, "a"))

    supervise([spec("a", fails=True)], body, publish=lambda picture: seen.append(picture["a"]))
    assert "the disk is gone" in {entry["last_error"] for entry in seen}


def test_changed_settings_are_kept(tmp_path):
    assert overrides.read(str(tmp_path)) == {}
    overrides.add(str(tmp_path), "store-0", {"identity": 1})
    overrides.add(str(tmp_path), "store-0", {"identity": 2})
    overrides.add(str(tmp_path), "store-1", {"other": 3})
    assert overrides.read(str(tmp_path)) == {"store-0": {"identity": 2}, "store-1": {"other": 3}}


def test_killing_what_does_not_exist_names_what_does():
    async def body(supervisor):
        with pytest.raises(NotFound, match="there are: a, b"):
            await supervisor.kill("c")

    supervise([spec("a"), spec("b")], body)


def test_writers_stop_before_what_they_write_to():
    specs = [spec("s", "store"), spec("n", "node"), spec("api", "api-server"), spec("x", "other")]
    assert stop_waves(specs) == [["x"], ["n"], ["api"], ["s"]]

    async def body(supervisor):
        await until(lambda: all(ready(supervisor, each.name) for each in specs))

    supervise(specs, body)
    assert [line for line in STORY if line.startswith("stop")] == [
        "stop x", "stop n", "stop api", "stop s",
    ]  # fmt: skip


def test_the_control_socket_answers_and_tells_errors(tmp_path):
    async def handler(request):
        if request["verb"] == "kill":
            raise NotFound("no component named 'x'")
        return {"echo": request}

    async def main():
        async with await control.serve(str(tmp_path), handler):
            call = asyncio.to_thread
            answer = await call(control.call, str(tmp_path), {"verb": "picture"})
            assert answer == {"echo": {"verb": "picture"}}
            with pytest.raises(ActorError, match="no component"):
                await call(control.call, str(tmp_path), {"verb": "kill"})

    asyncio.run(main())
    with pytest.raises(HostUnavailable):
        control.call(str(tmp_path), {"verb": "picture"})


def test_the_endpoints_file_is_replaced_whole(tmp_path):
    assert discovery.read(str(tmp_path)) == {}
    discovery.publish(str(tmp_path), {"store-0": {"pid": 1}})
    discovery.publish(str(tmp_path), {"store-0": {"pid": 2}})
    assert discovery.read(str(tmp_path)) == {"store-0": {"pid": 2}}
    assert json.loads((tmp_path / "endpoints.json").read_text()) == {"store-0": {"pid": 2}}
    assert [path.name for path in tmp_path.iterdir()] == ["endpoints.json"]
