"""The command line: options and help here, what the verbs do in their own modules."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from cluster.cli.certificates import certificates
from cluster.cli.errors import EXIT_CODES, FAILED, INTERRUPTED, CommandError
from cluster.cli.image import image
from cluster.cli.nodes import nodes
from cluster.cli.options import NAME, Seconds
from cluster.cli.store import store


def _run(verb: str, **options: Any) -> None:
    importlib.import_module(f"cluster.cli.{verb}").run(**options)


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="raykube")
def cli() -> None:
    """Kubernetes as an actor system: a complete cluster on this machine, or on your Ray cluster.

    \b
    raykube up                 start a cluster and point kubectl at it
    kubectl get nodes
    raykube down               leave nothing behind
    """


@cli.command(epilog=EXIT_CODES)
@NAME
@click.option("--members", type=click.Choice(["1", "3", "5"]), default="3", show_default=True,
              help="Members of the store (the etcd role).")  # fmt: skip
@click.option("--nodes", type=click.IntRange(0, 200), default=3, show_default=True)
@click.option("--simulated-nodes", type=click.IntRange(0, 20_000), default=0, show_default=True,
              help="Nodes that only say what pods do; see `raykube nodes simulate`.")  # fmt: skip
@click.option("--fleets", type=click.IntRange(0, 16), default=0,
              help="Actors that simulate nodes, at least 1 if there are any.")  # fmt: skip
@click.option("--api-servers", type=click.IntRange(1, 9), default=1, show_default=True)
@click.option("--controller-group", "controller_groups", multiple=True, metavar="NAMES",
              help="Run these controllers (job,cronjob) in managers of their own, with a leader of "
              "their own. Up to 4 groups.")  # fmt: skip
@click.option("--metrics/--no-metrics", default=True, show_default=True,
              help="Serve metrics.k8s.io, for kubectl top and autoscaling.")  # fmt: skip
@click.option("--runtime", type=click.Choice(["process", "cri", "docker"]), default="process",
              show_default=True, help="What runs the containers of nodes: raykube itself, or a "
              "container manager (containerd, CRI-O), or Docker.")  # fmt: skip
@click.option("--registries", metavar="FILE", type=click.Path(exists=True, dir_okay=False),
              help="YAML: the registries that nodes pull from, each with its settings (mirrors, "
              "plain_http, insecure, ca); '*' is every other one. Other images that were not "
              "loaded run on the host's files.")  # fmt: skip
@click.option("--kubelet-config", metavar="FILE", type=click.Path(exists=True, dir_okay=False),
              help="A KubeletConfiguration for all nodes: eviction thresholds, reservations, "
              "limits of processes, static pods, shutdown; `shipLogs` sends the pods' logs "
              "to a URL.")  # fmt: skip
@click.option("--runtime-endpoint", default="", metavar="URL",
              help="Where the container manager answers: "
              "unix:///run/containerd/containerd.sock")  # fmt: skip
@click.option("--etcd", is_flag=True,
              help="Serve the store by etcd's protocol too, for etcdctl.")  # fmt: skip
@click.option("--restore", default=None, metavar="FILE",
              type=click.Path(exists=True, dir_okay=False),
              help="Start from a backup of the store, ours or etcd's.")  # fmt: skip
@click.option("--audit-policy", metavar="FILE",
              type=click.Path(exists=True, dir_okay=False, resolve_path=True),
              help="Note who does what, as this audit policy says, in the cluster's logs "
              "folder.")  # fmt: skip
@click.option("--scheduler-config", metavar="FILE", type=click.Path(exists=True, dir_okay=False),
              help="A KubeSchedulerConfiguration: profiles, plugins, extenders.")  # fmt: skip
@click.option("--wait", type=Seconds(), default="60s", show_default=True,
              help="How long to wait until everything is ready; 0 does not wait.")  # fmt: skip
@click.option("--ray-address", default="", metavar="ADDRESS",
              help="Run on this Ray cluster (`auto`: the one on this machine) "
              "instead of a private one.")  # fmt: skip
@click.option("--kubeconfig", default="", metavar="FILE",
              help="Write the kubeconfig there instead of merging it.")  # fmt: skip
@click.option("--retain", is_flag=True, help="Keep what was started if the start fails.")
@click.option("-q", "--quiet", is_flag=True)
def up(**options: Any) -> None:
    """Start a cluster and wait until it is ready."""
    options["members"] = int(options["members"])
    _run("up", **options)


@cli.command(epilog=EXIT_CODES)
@NAME
@click.option("--all", "everything", is_flag=True, help="Every cluster of this user.")
@click.option("-q", "--quiet", is_flag=True)
def down(**options: Any) -> None:
    """Stop a cluster and remove all of it: processes, files, kubeconfig entries."""
    _run("down", **options)


@cli.command(epilog=EXIT_CODES)
@NAME
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def status(**options: Any) -> None:
    """Show every component: where it is, whether it is ready, who leads."""
    _run("status", **options)


@cli.command()
@NAME
def kubeconfig(**options: Any) -> None:
    """Print the administrator's kubeconfig."""
    _run("show_kubeconfig", **options)


@cli.command()
@NAME
@click.argument("component")
@click.option("-f", "--follow", is_flag=True, help="Go on printing what is logged.")
@click.option("--tail", type=click.IntRange(0), default=200, show_default=True, metavar="LINES")
def logs(**options: Any) -> None:
    """Print a component's log, e.g. `raykube logs store-0`."""
    _run("logs", **options)


@cli.command()
@NAME
@click.argument("component")
@click.option("--hold", "hold_s", type=Seconds(), default="0s", show_default=True,
              help="Keep it down this long before it is started again.")  # fmt: skip
@click.option("--power-off", is_flag=True,
              help="For a node: end its pods' processes too, as a power cut would.")  # fmt: skip
def kill(**options: Any) -> None:
    """SIGKILL a component, e.g. `raykube kill store-0`; the supervisor starts it again."""
    _run("kill", **options)


cli.add_command(certificates)
cli.add_command(store)
cli.add_command(nodes)
cli.add_command(image)


def main() -> None:
    """The console script: errors become one clear line, the next step, and an exit code."""
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("raykube: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except CommandError as error:
        click.echo(f"raykube: {error}", err=True)
        if error.hint:
            click.echo(f"  {error.hint}", err=True)
        sys.exit(error.code)
    except OSError as error:
        click.echo(f"raykube: {error}", err=True)
        sys.exit(FAILED)
