"""Containers that print what they find: environment, volumes, identity."""

from __future__ import annotations

from typing import Any

import pytest
from suite import environment, identity, volumes
from suite.printed import Facts, Group, ended, parameters
from suite.runtimes import Node

GROUPS = (environment.ENVIRONMENT, *volumes.GROUPS, *identity.GROUPS)


def objects_of(node: Node) -> list[dict[str, Any]]:
    return [obj for group in GROUPS for obj in group.made(node)]


@pytest.mark.parametrize(("group", "number"), parameters(GROUPS))
def test_a_container_prints(pods: Node, group: Group, number: int) -> None:
    check, name = group.checks[number], f"c{number}"
    pod = pods.until(group.name, ended(name))
    facts = Facts(pod, pods.plane.get("node", pods.name), pods.service_ip)
    printed = pods.logs(group.name, name)
    assert check.found(printed) == check.expected(facts), printed
    (status,) = [c for c in pod["status"]["containerStatuses"] if c["name"] == name]
    assert status["state"]["terminated"]["exitCode"] == 0
