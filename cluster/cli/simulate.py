"""The verbs of `raykube nodes`: simulated nodes, made through the API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from actors import discovery
from actors.seams import system_seams
from cluster import compose
from cluster.cli import clusters
from cluster.cli.errors import NOT_READY, USAGE, CommandError
from cluster.cli.progress import Progress
from cluster.client import Client, ClientConfig, ClientError
from cluster.kubelet.simulated import fleet, parsing, registration
from cluster.kubelet.simulated.nodes import Model
from cluster.machinery import meta, quantity
from cluster.machinery.status import ApiError

T = TypeVar("T")
WAIT_S = 300.0
POLL_S = 0.5


def simulate(
    name: str,
    count: int,
    prefix: str,
    zones: str,
    cpu: str,
    memory: str,
    pods: int,
    labels: Sequence[str],
    taint: bool,
    behaviour: str,
    rules: str | None,
    wait: float,
) -> None:
    """Raises CommandError."""
    shape = clusters.load(name)
    model = Model(
        _amount(cpu, "--cpu"),
        _amount(memory, "--memory"),
        pods,
        [zone for zone in zones.split(",") if zone],
        [_label(text) for text in labels],
        taint,
        _annotations(behaviour),
    )
    if rules is not None:
        _put_rules(shape, rules)
    add(shape, count, model, prefix, wait, Progress(quiet=False))


def _amount(text: str, option: str) -> str:
    try:
        quantity.parse(text)
    except ValueError as error:
        raise CommandError(f"{option}: {error}", code=USAGE) from error
    return text


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise CommandError(f"--label: {text!r} is no KEY=VALUE", code=USAGE)
    return key, value


def _annotations(behaviour: str) -> list[tuple[str, str]]:
    if not behaviour:
        return []
    annotation = {parsing.ANNOTATION: behaviour}
    try:
        parsing.of_node({"metadata": {"annotations": annotation}})
    except parsing.BehaviourError as error:
        raise CommandError(f"--behaviour: {error}", code=USAGE) from error
    return list(annotation.items())


def add(
    shape: compose.Shape, count: int, model: Model, prefix: str, wait_s: float, progress: Progress
) -> None:
    """Make the nodes and wait until their fleets have made them Ready. Raises CommandError."""
    fleets = _fleets(shape)

    async def work(client: Client) -> None:
        names = await registration.register(client, count, model, fleets=fleets, prefix=prefix)
        deadline_s = client.seams.clock.now() + wait_s
        while wait_s > 0 and (waiting := await _unready(client, names)):
            if client.seams.clock.now() > deadline_s:
                raise CommandError(
                    f"{waiting} of {count} nodes are not Ready after {wait_s:.0f} s",
                    hint="see `kubectl get nodes` and `raykube status`",
                    code=NOT_READY,
                )
            progress.detail(f"{count - waiting} of {count}")
            await client.seams.clock.sleep(POLL_S)

    with progress.step(f"Simulating {count} nodes"):
        _with_api(shape, work)


async def _unready(client: Client, names: Sequence[str]) -> int:
    nodes = await registration.simulated(client)
    ready = {node["metadata"]["name"] for node in nodes if meta.condition_is(node, "Ready")}
    return len(set(names) - ready)


def _fleets(shape: compose.Shape) -> list[str]:
    found = [
        name for name, entry in discovery.read(shape.folder).items() if entry["kind"] == "fleet"
    ]
    if not found:
        raise CommandError(
            f"cluster {shape.name} has no actor that simulates nodes",
            hint="start it with `raykube up --fleets 1`",
        )
    return sorted(found)


def _put_rules(shape: compose.Shape, path: str) -> None:
    text = Path(path).read_text()
    try:
        parsing.rules(text)
    except parsing.BehaviourError as error:
        raise CommandError(f"{path}: {error}", code=USAGE) from error
    metadata = {"name": fleet.RULES_NAME, "namespace": fleet.RULES_NAMESPACE}
    config: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    config["data"] = {fleet.RULES_KEY: text}

    async def work(client: Client) -> None:
        await client.patch(
            "configmaps", fleet.RULES_NAME, config, fleet.RULES_NAMESPACE, kind="apply", force=True
        )

    _with_api(shape, work)


def remove(name: str, nodes: Sequence[str], everything: bool) -> None:
    """Raises CommandError, with nothing removed, for a node that is none of ours."""
    shape = clusters.load(name)

    async def work(client: Client) -> list[str]:
        known = [node["metadata"]["name"] for node in await registration.simulated(client)]
        if unknown := sorted(set(nodes) - set(known)):
            raise CommandError(f"no simulated node named {unknown[0]}", code=USAGE)
        chosen = known if everything else list(nodes)
        await registration.remove(client, chosen)
        return chosen

    click.echo(f"{len(_with_api(shape, work))} nodes removed")


def _with_api(shape: compose.Shape, work: Callable[[Client], Awaitable[T]]) -> T:
    """What `work` returns, given a client of the administrator's."""

    async def run() -> T:
        config = ClientConfig.from_kubeconfig(shape.path("kubeconfig"))
        client = Client(config, system_seams(), "raykube")
        try:
            return await work(client)
        finally:
            await client.close()

    try:
        return asyncio.run(run())
    except* (ApiError, ClientError, ValueError) as group:
        raise CommandError(str(group.exceptions[0])) from group
