"""The command's own parts: folders, networks, kubeconfig files, errors with a next step."""

import importlib
import os
import subprocess
import sys
import threading

import pytest
import yaml

from actors.hosts import ray_head
from actors.placement import Machine
from cluster import compose
from cluster.cli import clusters, kubeconfig, up
from cluster.cli.errors import EXISTS, NO_CLUSTER, USAGE, CommandError
from cluster.pki import Authority, KeyPair

LAPTOP = Machine("127.0.0.2", "local", "0" * 8, {"CPU": 2.0})
PAIR = KeyPair(b"certificate", b"key")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYKUBE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(clusters, "_reservations", reservations := [])
    yield tmp_path / "home"
    for reservation in reservations:
        reservation.close()


def raykube(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from cluster.cli.main import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_two_clusters_get_two_networks():
    first, second = clusters.create("one"), clusters.create("two")
    assert first.network != second.network
    assert clusters.names() == ["one", "two"]
    assert clusters.load("one") == first


def test_clusters_of_two_homes_that_start_at_once_get_two_networks(tmp_path, monkeypatch):
    first = clusters.create("one")
    monkeypatch.setenv("RAYKUBE_HOME", str(tmp_path / "another"))
    assert clusters.create("one").network != first.network


def test_a_name_can_be_taken_only_once_until_it_is_free_again():
    clusters.create("one")
    with pytest.raises(CommandError, match="exists already") as refused:
        clusters.create("one")
    assert refused.value.code == EXISTS
    assert "raykube down --name one" in refused.value.hint


@pytest.mark.parametrize("name", ["", "Big", "a/b", "-a", "a" * 40, "..", "a_b"])
def test_a_bad_name_is_a_usage_error_and_makes_no_folder(name, home):
    with pytest.raises(CommandError) as refused:
        clusters.create(name)
    assert refused.value.code == USAGE
    assert not home.exists()


def test_the_last_cluster_takes_the_home_with_it(home):
    clusters.create("one")
    clusters.create("two")
    clusters.forget("one")
    assert clusters.names() == ["two"]
    clusters.forget("two")
    assert not home.exists()


def test_an_unknown_cluster_names_the_known_ones():
    clusters.create("here")
    with pytest.raises(CommandError) as refused:
        clusters.load("gone")
    assert refused.value.code == NO_CLUSTER
    assert refused.value.hint == "there are: here"


def test_merging_keeps_what_others_put_into_the_kubeconfig(tmp_path):
    path = tmp_path / "config"
    other = {"clusters": [{"name": "kind-x", "cluster": {}}], "current-context": "kind-x"}
    path.write_text(yaml.safe_dump(other))
    kubeconfig.merge(path, kubeconfig.build("one", "https://127.16.0.30:6443", b"ca", PAIR))
    merged = yaml.safe_load(path.read_text())
    assert [entry["name"] for entry in merged["clusters"]] == ["kind-x", "raykube-one"]
    assert merged["current-context"] == "raykube-one"
    assert path.stat().st_mode & 0o077 == 0
    kubeconfig.remove(path, "one")
    left = yaml.safe_load(path.read_text())
    assert [entry["name"] for entry in left["clusters"]] == ["kind-x"]


def test_a_kubeconfig_that_was_only_ours_goes_with_the_cluster(tmp_path):
    path = tmp_path / "new" / "config"
    kubeconfig.merge(path, kubeconfig.build("one", "https://127.16.0.30:6443", b"ca", PAIR))
    kubeconfig.remove(path, "one")
    assert list(path.parent.iterdir()) == []


def test_a_kubeconfig_that_cannot_be_read_is_not_overwritten(tmp_path):
    path = tmp_path / "config"
    path.write_text("clusters: [")
    with pytest.raises(CommandError, match="not valid YAML"):
        kubeconfig.merge(path, kubeconfig.build("one", "https://127.16.0.30:6443", b"ca", PAIR))
    assert path.read_text() == "clusters: ["


def test_a_plan_has_every_actor_with_its_own_address_and_files():
    shape = compose.Shape("one", "/var/lib/one", 16, members=3, api_servers=2, nodes=3)
    plan = compose.plan(shape, [LAPTOP])
    assert [actor.name for actor in plan.actors] == [
        "store-0", "store-1", "store-2", "api-server-0", "api-server-1",
        "controller-manager-0", "controller-manager-1", "scheduler-0", "scheduler-1",
        "node-0", "node-1", "node-2",
    ]  # fmt: skip
    assert plan.layout.api_urls == ["https://127.16.0.30:6443", "https://127.16.0.31:6443"]
    for actor in plan.actors:
        paths = {path for path, _ in actor.files}
        for component in actor.components:
            for tls in (component.config.get("tls"), component.config.get("client")):
                if tls:
                    assert {tls["ca"], tls["cert"], tls["key"]} <= paths


def test_what_ray_says_a_machine_has_is_an_extended_resource_of_its_first_node():
    has = {"CPU": 8.0, "GPU": 4.0, "memory": 1e9, "node:10.0.0.1": 1.0, "half": 0.5, "TPU-v4": 2.0}
    machine = Machine("10.0.0.1", "a", "1", has)
    shape = compose.Shape("one", "/var/lib/one", 16, nodes=2)
    nodes = [a for a in compose.plan(shape, [machine]).actors if a.kind == "node"]
    capacities = [actor.components[0].config["capacity"] for actor in nodes]
    assert capacities == [{"ray.io/GPU": "4", "ray.io/TPU-v4": "2"}, {}]


def test_members_that_share_a_machines_address_have_ports_of_their_own():
    shape = compose.Shape("one", "/var/lib/one", 16, members=3)
    two = [Machine("10.0.0.1", "a", "1", {}), Machine("10.0.0.2", "b", "2", {})]
    members = [a for a in compose.plan(shape, two).actors if a.kind == "store"]
    addresses = [actor.components[0].config["client_address"] for actor in members]
    assert sorted(addresses) == ["10.0.0.1:2379", "10.0.0.1:2389", "10.0.0.2:2379"]


def test_groups_of_controllers_have_managers_and_a_lease_of_their_own():
    shape = compose.Shape("one", "/var/lib/one", 16, controller_groups=["job,cronjob", "namespace"])
    alone = [Machine("127.0.0.1", "a", "", {})]
    managers = [a for a in compose.plan(shape, alone).actors if a.kind == "controller-manager"]
    configs = [actor.components[0].config for actor in managers]
    assert [config.get("group", "") for config in configs] == ["", "", "1", "1", "2", "2"]
    assert {"*", "-job", "-cronjob", "-namespace"} <= set(configs[0]["controllers"])
    assert configs[2]["controllers"] == ["job", "cronjob"]
    assert configs[5]["controllers"] == ["namespace"]


def test_certificates_carry_users_groups_and_names():
    from cryptography import x509

    authority = Authority.create("test-ca")
    certificate = x509.load_pem_x509_certificate(
        authority.issue("system:node:a", ["system:nodes"], names=["127.16.1.1", "a"]).certificate
    )
    assert certificate.subject.rfc4514_string() == "CN=system:node:a,O=system:nodes"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a"]
    certificate.verify_directly_issued_by(
        x509.load_pem_x509_certificate(authority.pair.certificate)
    )


def test_what_is_not_ready_is_named_with_its_reason(tmp_path):
    from actors import discovery

    picture = {"store-0": {"ready": True}, "node-0": {"ready": False, "detail": "no lease yet"}}
    discovery.publish(str(tmp_path), picture)
    lines = up.unready(str(tmp_path), ["store-0", "node-0", "node-1"])
    assert lines == ["  node-0: no lease yet", "  node-1: unknown"]


def test_commands_about_a_cluster_that_is_not_there_end_with_three():
    for verb in (["down"], ["status"], ["kubeconfig"], ["logs", "store-0"], ["kill", "store-0"]):
        done = raykube(*verb)
        assert done.returncode == NO_CLUSTER, verb
        assert "no cluster named default" in done.stderr
        assert "raykube up" in done.stderr


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom cluster.cli.main import cli\n"
        "try:\n cli(['up', '--help'])\nexcept SystemExit: pass\n"
        "heavy = {'ray', 'asyncio', 'cryptography', 'numpy', 'yaml'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--ray-address" in done.stdout


def test_a_bad_duration_is_a_usage_error():
    done = raykube("up", "--wait", "soon")
    assert done.returncode == USAGE
    assert "is no duration" in done.stderr
    assert not os.path.exists(os.environ["RAYKUBE_HOME"])


def test_ray_is_imported_with_the_token_of_the_new_head_in_its_environment(monkeypatch):
    """Ray reads its environment once, while it is imported; without a token it is a stranger."""
    seen = []
    shape = clusters.create("one")
    for name in ray_head.client_environment(shape.folder):
        monkeypatch.setenv(name, "")
    imported = threading.Event()

    def note(name):
        seen.append((name, os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN_PATH"]))
        imported.set()

    monkeypatch.setattr(importlib, "import_module", note)
    monkeypatch.setattr(ray_head, "start", lambda *_arguments, **_options: imported.wait(60))
    up._start_head(shape)
    assert seen == [("ray", "token", f"{shape.folder}/ray-token")]
