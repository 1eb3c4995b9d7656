"""`raykube kill`: a fault on purpose."""

from __future__ import annotations

import click

from actors import control
from actors.errors import ActorError
from cluster.cli import clusters
from cluster.cli.errors import CommandError


def run(name: str, component: str, hold_s: float, power_off: bool) -> None:
    """Raises CommandError if there is nothing of that name to kill."""
    shape = clusters.load(name)
    if power_off and not component.startswith("node-"):
        raise CommandError("--power-off is for nodes", hint="raykube kill node-0 --power-off")
    try:
        request = {"verb": "kill", "name": component, "hold_s": hold_s}
        pid = control.call(shape.folder, request)
    except ActorError as error:
        raise CommandError(str(error), hint=f"see `raykube status --name {name}`") from error
    if power_off:
        from cluster.kubelet.runtimes import reap

        reap.power_off(shape.node_folder(component))
    click.echo(f"{component} killed (process {pid})")
