"""`raykube down`: what `up` began ends, in the opposite order, whatever state it is in."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from actors import control
from actors.errors import ActorError, HostUnavailable
from actors.hosts import ray_head
from cluster.cli import clusters, kubeconfig
from cluster.cli.errors import CommandError
from cluster.cli.progress import Progress
from cluster.compose import Shape


def run(name: str, everything: bool, quiet: bool) -> None:
    """Remove one cluster, or all of this user's. Raises CommandError."""
    progress = Progress(quiet=quiet)
    for each in clusters.names() if everything else [name]:
        shape = clusters.load(each)
        with progress.step(f"Stopping cluster {each}"):
            remove(shape)


def remove(shape: Shape) -> None:
    """End the actors, Ray, the pods' processes; then the files and the kubeconfig entries."""
    head = ray_head.load(shape.folder)
    with contextlib.suppress(HostUnavailable):  # it may be dead, or never have been started
        control.call(shape.folder, {"verb": "stop"}, timeout_s=40.0)
    if head is not None:
        ray_head.end(head)
    else:
        _leave_ray(shape)
    _reap_pods(shape)
    _forget_kubeconfig(shape)
    clusters.forget(shape.name)


def keep_logs(shape: Shape) -> Path:
    """Copy the logs out of a folder that is about to go."""
    target = Path(tempfile.mkdtemp(prefix=f"raykube-{shape.name}-logs-"))
    shutil.copytree(shape.path("logs"), target, dirs_exist_ok=True)
    return target


def _leave_ray(shape: Shape) -> None:
    """On somebody's Ray cluster: end the actors that a dead supervisor could not."""
    address = Path(shape.path("ray-address"))
    if not address.exists():
        return
    from actors.hosts import ray as ray_host

    try:
        ray_host.connect(address.read_text(), shape.name)
    except HostUnavailable:
        return  # that Ray cluster is gone, and every actor of ours with it
    try:
        ray_host.end_namespace(shape.name)
    except ActorError as error:
        raise CommandError(str(error)) from error
    finally:
        ray_host.disconnect()


def _reap_pods(shape: Shape) -> None:
    from cluster.kubelet.runtimes import reap

    nodes = Path(shape.path("nodes"))
    for node in sorted(os.listdir(nodes)) if nodes.exists() else []:
        try:
            reap.reap(str(nodes / node))
        except OSError as error:
            hint = "once it is there again, run `raykube down` again"
            raise CommandError(f"pods of {node} may still run: {error}", hint=hint) from error


def _forget_kubeconfig(shape: Shape) -> None:
    recorded = Path(shape.path("kubeconfig-path"))
    if recorded.exists():
        kubeconfig.remove(Path(recorded.read_text()), shape.name)
