"""Replacing a member step by step, interrupted after each; real members in this process."""

from __future__ import annotations

import asyncio
import importlib.util
import pathlib
import shutil
from typing import Any

import pytest

from cluster.cli.errors import CommandError
from cluster.cli.progress import Progress
from cluster.cli.store_client import Place
from cluster.cli.store_replace import Replacement
from raftstore.client import StoreClient
from raftstore.types import ALL_FROM

_spec = importlib.util.spec_from_file_location(
    "member_changes",
    pathlib.Path(__file__).parents[1] / "raftstore" / "test_member_changes.py",
)
assert _spec is not None
assert _spec.loader is not None
changes: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(changes)


class Interrupted(Exception):
    """As by Ctrl-C."""


class Operator:
    """Repairs a member of a store, with a supervisor that is this class."""

    def __init__(self, store: Any, client: StoreClient, name: str) -> None:
        self.store, self.client, self.name = store, client, name
        self.interrupts: list[str] = []
        self.calls: list[str] = []

    def replacement(self) -> Replacement:
        config = self.store.configs[self.name]
        place = Place(config["peer_address"], config["client_address"])
        quiet = Progress(quiet=True)
        return Replacement(self, self.name, place, self.configure, quiet, 10.0, silent_s=0.3)  # type: ignore[arg-type]

    def __getattr__(self, method: str) -> Any:
        """The client's calls; one that is to be interrupted is made, and nothing after it."""
        call = getattr(self.client, method)
        if not method.startswith("member_") or method == "member_list":
            return call

        async def noting(*arguments: Any, **options: Any) -> Any:
            result = await call(*arguments, **options)
            self._note(method)
            return result

        return noting

    def configure(self, settings: dict[str, Any]) -> None:
        config = self.store.configs[self.name]
        if config != config | settings:
            config |= settings
            self.starting = asyncio.ensure_future(self.store.start(self.name))
            self._note("configure")

    def _note(self, step: str) -> None:
        self.calls.append(step)
        if step in self.interrupts:
            self.interrupts.remove(step)
            raise Interrupted


def test_a_lost_member_is_replaced_even_if_interrupted_after_any_step(
    tmp_path: pathlib.Path,
) -> None:
    async def scenario(store: Any, client: StoreClient) -> None:
        await changes.until_named(client, *store.names)
        await client.put(b"kept", b"1")
        lost = next(name for name in store.names if name != store.leader())
        await store.stop(lost)
        shutil.rmtree(tmp_path / lost)
        await asyncio.sleep(0.4)  # an election timeout: until then it counts as alive
        operator = Operator(store, client, lost)
        operator.interrupts = steps = ["member_remove", "member_add", "configure", "member_promote"]
        for _ in range(len(steps)):
            with pytest.raises(Interrupted):
                await operator.replacement().run()
        assert await operator.replacement().run() is False
        assert operator.calls == ["member_remove", "member_add", "configure", "member_promote"]
        members = (await client.member_list()).members
        assert sorted((m.name, m.learner) for m in members) == [(n, False) for n in store.names]
        await store.ready(lost)
        assert changes.keys(store.members[lost]) == changes.keys(store.members[store.leader()])
        assert (await client.range(b"\0", ALL_FROM)).count == 1

    changes.run(tmp_path, 3, scenario)


def test_a_healthy_member_is_left_alone(tmp_path: pathlib.Path) -> None:
    async def scenario(store: Any, client: StoreClient) -> None:
        await changes.until_named(client, *store.names)
        operator = Operator(store, client, store.names[0])
        assert await operator.replacement().run() is False
        assert operator.calls == []

    changes.run(tmp_path, 3, scenario)


def test_what_would_cost_the_majority_is_refused(tmp_path: pathlib.Path) -> None:
    async def scenario(store: Any, client: StoreClient) -> None:
        await changes.until_named(client, *store.names)
        [lost] = [name for name in store.names if name != store.leader()]
        await store.stop(lost)
        with pytest.raises(CommandError) as refused:
            await Operator(store, client, lost).replacement().run()
        assert "majority" in str(refused.value)
        assert refused.value.hint

    changes.run(tmp_path, 2, scenario)
