"""`raykube up`: folder, Ray, supervisor, readiness, kubeconfig; undone again if a step fails."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actors import discovery
from actors.errors import ActorError
from actors.hosts import ray_head
from actors.placement import Machine
from cluster import compose
from cluster.cli import clusters, down, kubeconfig
from cluster.cli.errors import EXISTS, NOT_READY, USAGE, CommandError
from cluster.cli.progress import Progress
from cluster.machinery.errors import BadRequest


def run(
    name: str,
    members: int,
    nodes: int,
    simulated_nodes: int,
    fleets: int,
    api_servers: int,
    controller_groups: Sequence[str],
    metrics: bool,
    runtime: str,
    runtime_endpoint: str,
    registries: str | None,
    kubelet_config: str | None,
    etcd: bool,
    restore: str | None,
    audit_policy: str | None,
    scheduler_config: str | None,
    wait: float,
    ray_address: str,
    kubeconfig: str,
    retain: bool,
    quiet: bool,
) -> None:
    """Start the cluster, or leave nothing behind. Raises CommandError."""
    progress = Progress(quiet=quiet)
    if audit_policy:
        _check_policy(audit_policy)
    _check_runtime(runtime, runtime_endpoint)
    shape = clusters.create(
        name,
        members=members,
        nodes=nodes,
        fleets=fleets or min(1, simulated_nodes),
        api_servers=api_servers,
        controller_groups=_groups(controller_groups),
        metrics=metrics,
        runtime=runtime,
        runtime_endpoint=runtime_endpoint,
        registries=_registries(registries),
        kubelet=_kubelet_configuration(kubelet_config),
        etcd=etcd,
        audit_policy=audit_policy or "",
        scheduler_configuration=_scheduler_configuration(scheduler_config),
    )
    target = Path(kubeconfig) if kubeconfig else None
    try:
        _start(shape, ray_address, restore, progress)
        _write_kubeconfig(shape, target)
        if wait > 0:
            _wait_ready(shape, wait, progress)
        if simulated_nodes:
            _simulate(shape, simulated_nodes, progress)
    except BaseException as error:
        _undo(shape, error, retain, progress)
        if isinstance(error, ActorError):
            raise CommandError(str(error)) from error
        raise
    _greet(shape, target, progress)


def _check_runtime(runtime: str, endpoint: str) -> None:
    """Before anything is started. Raises CommandError."""
    if (runtime == "process") == bool(endpoint):
        text = "--runtime-endpoint is for --runtime cri and docker, which need it"
        hint = "raykube up --runtime cri --runtime-endpoint unix:///run/containerd/containerd.sock"
        raise CommandError(text, hint=hint, code=USAGE)


def _registries(path: str | None) -> dict[str, Any]:
    """Checked before anything is started. Raises CommandError."""
    from cluster.kubelet.images import settings
    from cluster.machinery.codec import yaml_codec

    if path is None:
        return {}
    try:
        found = yaml_codec.decode(Path(path).read_bytes())
        settings.parse(found)
    except (BadRequest, ValueError) as error:
        raise CommandError(f"{path}: {error}", code=USAGE) from None
    return dict(found)


def _kubelet_configuration(path: str | None) -> dict[str, Any]:
    """Checked before anything is started. Raises CommandError."""
    from cluster.kubelet import configuration
    from cluster.machinery.codec import yaml_codec

    if path is None:
        return {}
    try:
        return configuration.parse(yaml_codec.decode(Path(path).read_bytes()))
    except (BadRequest, ValueError) as error:
        hint = "see kubelet.config.k8s.io/v1beta1 KubeletConfiguration"
        raise CommandError(f"{path}: {error}", hint=hint, code=USAGE) from None


def _groups(given: Sequence[str]) -> list[str]:
    """Checked before anything is started. Raises CommandError."""
    from cluster.controllers.manager import chosen

    names = [name for group in given for name in group.split(",")]
    try:
        chosen(names)
    except ValueError as error:
        raise CommandError(str(error), code=USAGE) from None
    if len(set(names)) < len(names):
        raise CommandError("a controller runs in one group only", code=USAGE)
    if len(given) > compose.MAX_GROUPS:
        raise CommandError(f"at most {compose.MAX_GROUPS} groups of controllers", code=USAGE)
    return list(given)


def _scheduler_configuration(path: str | None) -> dict[str, Any]:
    """Checked before anything is started. Raises CommandError."""
    from cluster.machinery.codec import yaml_codec
    from cluster.scheduler.plugins.profiles import settings_of
    from cluster.scheduler.plugins.registry import Registry

    if path is None:
        return {}
    try:
        given: dict[str, Any] = yaml_codec.decode(Path(path).read_bytes())
        settings_of(given, Registry())
    except (ValueError, TypeError, AttributeError, KeyError, BadRequest) as error:
        hint = "see kubescheduler.config.k8s.io/v1 KubeSchedulerConfiguration"
        raise CommandError(f"{path}: {error}", hint=hint) from error
    return given


def _check_policy(path: str) -> None:
    """Before anything is started. Raises CommandError."""
    from cluster.apiserver.audit import policy

    try:
        policy.load(path)
    except (ValueError, TypeError, AttributeError) as error:
        raise CommandError(f"{path}: {error}", hint="see audit.k8s.io/v1 Policy") from error


def _start(shape: compose.Shape, ray_address: str, restore: str | None, progress: Progress) -> None:
    private = False
    if not ray_address:
        with progress.step("Starting Ray"):
            ray_address, private = _start_head(shape).address, True
    with progress.step("Starting the supervisor"):
        _launch(shape, ray_address, restore, private=private)


def _start_head(shape: compose.Shape) -> ray_head.RayHead:
    """Ray's own import takes half a second: it runs beside the head's start.

    Ray reads its environment once, while it is imported: one that is set later counts for nothing,
    and the head would refuse this process as a stranger.
    """
    import importlib
    import threading

    os.environ.update(ray_head.client_environment(shape.folder))
    threading.Thread(target=importlib.import_module, args=("ray",), daemon=True).start()
    return ray_head.start(shape.folder, shape.ray_address, preload=compose.MODULES)


def _launch(shape: compose.Shape, address: str, restore: str | None, *, private: bool) -> None:
    from actors.hosts import ray as ray_host

    ray_host.connect(address, shape.name, address.rpartition(":")[0] if private else None)
    try:
        if ray_host.is_running(shape.name):
            raise CommandError(
                f"the Ray cluster at {address} runs a raykube cluster named {shape.name} already",
                hint="choose another --name",
                code=EXISTS,
            )
        machines = ray_host.machines()
        plan = compose.plan(shape, machines, _keys_of(restore))
        _save(shape, plan, address)
        own = ray_host.own_machine(machines)  # where this folder is
        if restore:
            _restore(shape, plan, own, restore)
        ray_host.launch(ray_host.Plan(shape.name, shape.folder, plan.actors), own.pin)
    finally:
        ray_host.disconnect()


def _keys_of(restore: str | None) -> bytes:
    """The keys of the secrets in a backup, where they stand beside it."""
    from cluster.cli import store_backup

    path = Path(store_backup.keys_of(restore)) if restore else None
    return path.read_bytes() if path is not None and path.exists() else b""


def _restore(shape: compose.Shape, plan: compose.Plan, own: Machine, file: str) -> None:
    from cluster.cli import store_backup

    store_backup.restore_cluster(shape, plan, own, file)


def _save(shape: compose.Shape, plan: compose.Plan, ray_address: str) -> None:
    """Keep what `status`, `kubeconfig` and `down` need without Ray."""
    config = kubeconfig.build(
        shape.name, plan.layout.api_urls[0], plan.authority.certificate, plan.admin
    )
    kubeconfig.write(Path(shape.path("kubeconfig")), config)
    Path(shape.path("ray-address")).write_text(ray_address)
    _save_store_client(shape, plan)
    if shape.etcd:
        _save_etcd_environment(shape, plan)
    Path(shape.path("actors")).write_text("\n".join(actor.name for actor in plan.actors))


def _save_store_client(shape: compose.Shape, plan: compose.Plan) -> None:
    """What `raykube store` and etcdctl reach the store with."""
    contents = {
        "ca.crt": plan.authority.certificate,
        "store-client.crt": plan.store_client.certificate,
        "store-client.key": plan.store_client.key,
    }
    for file_name, content in contents.items():
        path = Path(shape.path("pki", file_name))
        path.touch(mode=0o600)
        path.write_bytes(content)
    members = plan.layout.members
    ports = compose.PEER_PORT, compose.CLIENT_PORT
    places = {m.name: [compose.store_address(members, m, port) for port in ports] for m in members}
    Path(shape.path("store-members")).write_text(json.dumps(places))


def _save_etcd_environment(shape: compose.Shape, plan: compose.Plan) -> None:
    """What etcdctl reads from the environment: `. FOLDER/etcd.env`."""
    files = {
        "ETCDCTL_CACERT": "ca.crt",
        "ETCDCTL_CERT": "store-client.crt",
        "ETCDCTL_KEY": "store-client.key",
    }
    lines = [f"export ETCDCTL_API=3 ETCDCTL_ENDPOINTS={','.join(plan.layout.etcd_urls)}"]
    lines += [f"export {name}={shape.path('pki', file)}" for name, file in files.items()]
    Path(shape.path("etcd.env")).write_text("\n".join(lines) + "\n")


def _write_kubeconfig(shape: compose.Shape, target: Path | None) -> None:
    import yaml

    config: dict[str, Any] = yaml.safe_load(Path(shape.path("kubeconfig")).read_text())
    path = target or kubeconfig.default_path()
    if target:
        kubeconfig.write(target, config)
    else:
        kubeconfig.merge(path, config)
    Path(shape.path("kubeconfig-path")).write_text(str(path.absolute()))


def _wait_ready(shape: compose.Shape, wait_s: float, progress: Progress) -> None:
    expected = Path(shape.path("actors")).read_text().split("\n")
    deadline = time.monotonic() + wait_s
    with progress.step(f"Waiting until {len(expected)} components are ready"):
        while missing := unready(shape.folder, expected):
            if time.monotonic() > deadline:
                raise CommandError(
                    f"not ready after {wait_s:.0f} s:\n" + "\n".join(missing),
                    hint="try again with --retain, then `raykube logs COMPONENT` tells more",
                    code=NOT_READY,
                )
            progress.detail(f"{len(expected) - len(missing)} of {len(expected)}")
            time.sleep(0.05)


def _simulate(shape: compose.Shape, count: int, progress: Progress) -> None:
    from cluster.cli import simulate
    from cluster.kubelet.simulated.nodes import Model

    simulate.add(shape, count, Model(), "sim", simulate.WAIT_S, progress)


def unready(folder: str, expected: list[str]) -> list[str]:
    """A line for each component that is not ready yet, with what it says of itself."""
    picture = discovery.read(folder)
    lines = []
    for name in expected:
        entry = picture.get(name, {})
        if not entry.get("ready"):
            said = entry.get("detail") or entry.get("last_error") or entry.get("phase", "unknown")
            lines.append(f"  {name}: {said}")
    return lines


def _undo(shape: compose.Shape, error: BaseException, retain: bool, progress: Progress) -> None:
    if retain:
        progress.say(f"kept as it is (--retain): logs are in {shape.path('logs')}")
        return
    with progress.step("Cleaning up"):
        saved = down.keep_logs(shape)
        down.remove(shape)
    if not isinstance(error, KeyboardInterrupt):
        progress.say(f"   the logs are in {saved}")


def _greet(shape: compose.Shape, target: Path | None, progress: Progress) -> None:
    progress.say(f"Cluster {shape.name} is up after {progress.elapsed_s:.1f} s. Next:")
    option = f" --kubeconfig {target}" if target else ""
    context = "" if target else f" --context {kubeconfig.context_name(shape.name)}"
    progress.say(f"  kubectl{option}{context} get nodes")
    if shape.etcd:
        progress.say(f"  . {shape.path('etcd.env')} && etcdctl member list")
