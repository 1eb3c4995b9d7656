"""Component statuses tell of each member of the store how it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from api_fixture import RunningApi

from raftstore.errors import Unavailable
from raftstore.testing import MemoryStore
from raftstore.types import MemberStatus

STATUSES = "/api/v1/componentstatuses"


class ThreeMembers(MemoryStore):
    """The second is ill, the third does not answer; or nothing is known of any (`failure`)."""

    failure: Exception | None = None

    async def status(self) -> list[MemberStatus]:
        if self.failure is not None:
            raise self.failure
        (first,) = await super().status()
        ill = first._replace(name="store-1", healthy=False)
        silent = first._replace(name="", address="127.0.0.1:7003", healthy=False)
        return [first, ill, silent]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    running = RunningApi(tmp_path_factory.mktemp("api"), ThreeMembers())
    yield running
    running.close()


def condition(obj: Any) -> tuple[str, str]:
    (found,) = obj["conditions"]
    return found["status"], found["message"]


def test_every_member_of_the_store_has_an_entry(api: Any) -> None:
    items = api.json("GET", STATUSES)[1]["items"]
    told = {item["metadata"]["name"]: condition(item) for item in items}
    assert list(told) == ["controller-manager", "etcd-0", "etcd-1", "etcd-2", "scheduler"]
    assert told["etcd-0"] == ("True", "ok")
    assert told["etcd-1"] == ("False", "member store-1 is not healthy")
    assert told["etcd-2"] == ("False", "the member at 127.0.0.1:7003 does not answer")


def test_one_member_is_found_by_its_name(api: Any) -> None:
    assert condition(api.json("GET", f"{STATUSES}/etcd-1")[1])[0] == "False"
    assert api.json("GET", f"{STATUSES}/etcd-3")[0] == 404


def test_a_store_that_tells_nothing_is_one_entry_with_its_error(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.store, "failure", Unavailable("no leader"))
    assert condition(api.json("GET", f"{STATUSES}/etcd-0")[1]) == ("False", "no leader")
    assert api.json("GET", f"{STATUSES}/etcd-1")[0] == 404
