"""Environment, volumes, sandbox files, admission and logs."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from actors.seams import system_seams
from cluster.kubelet import admission, container_config, downward, environment, logs, sandbox
from cluster.kubelet.environment import ConfigError
from cluster.kubelet.logs import LogOptions
from cluster.kubelet.volumes import atomic_writer, payload
from cluster.kubelet.volumes.atomic_writer import File

CONFIG_MAP = {"data": {"a": "1", "b": "2"}, "binaryData": {"c": "AAE="}}
SECRET = {"data": {"p": "cHc="}}
OBJECTS: dict[tuple[str, str], Any] = {("configmaps", "cm"): CONFIG_MAP, ("secrets", "s"): SECRET}


def pod(**spec: Any) -> dict[str, Any]:
    labels = {"app": "web", "quote": 'a"b'}
    return {
        "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": labels},
        "spec": {"nodeName": "n1", "containers": [{"name": "main"}], **spec},
        "status": {"podIP": "127.8.1.2", "hostIP": "127.8.1.1"},
    }


def env(*entries: Any, source: Any = (), spec: Any = None, services: Any = ()) -> dict[str, str]:
    container = {"name": "main", "env": list(entries), "envFrom": list(source)}
    obj = pod(**(spec or {}))
    return environment.build(obj, container, objects=OBJECTS, services=services)


def from_(**source: Any) -> dict[str, Any]:
    return {"name": "X", "valueFrom": source}


def test_variables_expand_what_is_known_and_leave_the_rest() -> None:
    values = env({"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$(NO)-$$(A)-$"})
    assert values["B"] == "1-$(NO)-$(A)-$"


def test_sources_fill_the_environment_and_entries_win() -> None:
    found = env(
        {"name": "x_a", "value": "own"}, source=[{"prefix": "x_", "configMapRef": {"name": "cm"}}]
    )
    assert (found["x_a"], found["x_b"]) == ("own", "2")


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ({"configMapKeyRef": {"name": "cm", "key": "a"}}, "1"),
        ({"secretKeyRef": {"name": "s", "key": "p"}}, "pw"),
        ({"fieldRef": {"fieldPath": "metadata.labels['app']"}}, "web"),
        ({"fieldRef": {"fieldPath": "status.podIP"}}, "127.8.1.2"),
        ({"fieldRef": {"fieldPath": "spec.nodeName"}}, "n1"),
        ({"secretKeyRef": {"name": "no", "key": "p", "optional": True}}, None),
    ],
)
def test_values_come_from_elsewhere(source: dict[str, Any], value: str | None) -> None:
    assert env(from_(**source)).get("X") == value


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "no", "key": "a"}}, 'configmap "no" not found'),
        ({"secretKeyRef": {"name": "s", "key": "q"}}, "couldn't find key q in Secret ns/s"),
    ],
)
def test_what_is_missing_is_named(source: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        env(from_(**source))


def test_resources_are_counted_in_their_divisor() -> None:
    obj = pod()
    limits = {"cpu": "1500m", "memory": "64Mi"}
    obj["spec"]["containers"][0]["resources"] = {"limits": limits}

    def resource(name: str, divisor: str = "") -> str:
        reference = {"resource": name, "divisor": divisor, "containerName": "main"}
        return downward.resource(obj, reference, {"cpu": "4"})

    assert (resource("limits.cpu"), resource("limits.cpu", "1m")) == ("2", "1500")
    assert resource("limits.memory", "1Mi") == "64"
    assert resource("requests.cpu") == "0"


def test_service_variables_are_of_the_own_namespace_and_the_api() -> None:
    def service(namespace: str, name: str) -> dict[str, Any]:
        port = {"name": "http", "port": 80, "protocol": "TCP"}
        spec = {"clusterIP": "127.9.0.5", "ports": [port]}
        return {"metadata": {"namespace": namespace, "name": name}, "spec": spec}

    services = [service("ns", "my-db"), service("other", "x"), service("default", "kubernetes")]
    found = env(services=services)
    assert found["MY_DB_SERVICE_HOST"] == "127.9.0.5"
    assert found["MY_DB_SERVICE_PORT_HTTP"] == "80"
    assert found["MY_DB_PORT_80_TCP"] == "tcp://127.9.0.5:80"
    assert "X_SERVICE_HOST" not in found
    unlinked = env(services=services, spec={"enableServiceLinks": False})
    assert set(unlinked) == {key for key in found if key.startswith("KUBERNETES_")}


def test_label_maps_are_escaped() -> None:
    assert downward.field(pod(), "metadata.labels") == 'app="web"\nquote="a\\"b"'


def files(volume: dict[str, Any]) -> dict[str, File]:
    return payload.files(pod(), {"name": "v"} | volume, OBJECTS, {})


def test_volumes_hold_chosen_keys_with_their_modes() -> None:
    assert files({"secret": {"secretName": "s", "defaultMode": 0o400}}) == {"p": File(b"pw", 0o400)}
    items = [{"key": "b", "path": "deep/b", "mode": 0o600}, {"key": "c", "path": "c"}]
    found = files({"configMap": {"name": "cm", "items": items}})
    assert found == {"deep/b": File(b"2", 0o600), "c": File(b"\0\1")}


def test_a_projected_volume_joins_its_sources() -> None:
    item = {"path": "labels", "fieldRef": {"fieldPath": "metadata.name"}}
    sources = [
        {"configMap": {"name": "cm"}},
        {"secret": {"name": "s"}},
        {"downwardAPI": {"items": [item]}},
        {"secret": {"name": "no", "optional": True}},
    ]
    assert sorted(files({"projected": {"sources": sources}})) == ["a", "b", "c", "labels", "p"]


def test_a_volume_is_replaced_in_one_step(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert atomic_writer.write(folder, {"a": File(b"1"), "d/b": File(b"2", 0o600)})
    first = os.readlink(tmp_path / "..data")
    assert not atomic_writer.write(folder, {"a": File(b"1"), "d/b": File(b"2", 0o600)})
    assert atomic_writer.write(folder, {"a": File(b"3")})
    assert os.readlink(tmp_path / "..data") != first
    assert not (tmp_path / first).exists()
    assert (tmp_path / "a").read_text() == "3"
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("..")) == ["a"]


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", ""])
def test_paths_out_of_a_volume_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="invalid path"):
        atomic_writer.write(str(tmp_path), {path: File(b"")})


def test_addresses_are_kept_over_restarts_and_not_reused_at_once(tmp_path: Path) -> None:
    def make() -> sandbox.Sandboxes:
        made = sandbox.Sandboxes(
            str(tmp_path),
            pod_cidr="127.8.1.0/29",
            node_ip="127.8.1.1",
            cluster_dns="127.9.0.10",
            domain="cluster.local",
        )
        made.load()
        return made

    def named(uid: str) -> dict[str, Any]:
        return pod() | {"metadata": {"name": uid, "uid": uid, "namespace": "ns"}}

    first = make()
    assert [first.set_up(named(uid)) for uid in "abca"] == [
        "127.8.1.2",
        "127.8.1.3",
        "127.8.1.4",
        "127.8.1.2",
    ]
    again = make()
    assert again.address("b") == "127.8.1.3"
    again.release("a")
    assert again.set_up(named("d")) == "127.8.1.2"
    rest = [again.set_up(named(uid)) for uid in "ef"]
    assert rest == ["127.8.1.5", "127.8.1.6"]
    with pytest.raises(sandbox.AddressesExhausted):
        again.set_up(named("g"))


def test_resolv_conf_follows_the_dns_policy() -> None:
    host = "search corp.example\nnameserver 10.0.0.1\n"

    def made(**spec: Any) -> str:
        return sandbox.resolv_conf(pod(**spec), "127.9.0.10", "cluster.local", host)

    assert made() == (
        "search ns.svc.cluster.local svc.cluster.local cluster.local corp.example\n"
        "nameserver 127.9.0.10\noptions ndots:5\n"
    )
    assert made(dnsPolicy="Default") == "search corp.example\nnameserver 10.0.0.1\n"
    config = {"nameservers": ["1.1.1.1"], "options": [{"name": "ndots", "value": "2"}]}
    assert made(dnsPolicy="None", dnsConfig=config) == "nameserver 1.1.1.1\noptions ndots:2\n"
    assert made(dnsConfig=config).endswith("nameserver 1.1.1.1\noptions ndots:2\n")


def test_a_pod_is_refused_for_what_is_short_and_counted_with_its_largest_init_step() -> None:
    def asking(cpu: str, init: str = "0") -> dict[str, Any]:
        def container(amount: str) -> dict[str, Any]:
            return {"name": "c", "resources": {"requests": {"cpu": amount}}}

        spec = {"containers": [container(cpu)], "initContainers": [container(init)]}
        return {"spec": spec}

    capacity = admission.amounts({"cpu": "2", "memory": "1Gi", "pods": "3"})
    assert admission.refusal(asking("1"), admission.used_by([asking("1")]), {}, capacity) is None
    one = admission.used_by([asking("1")])
    refusal = admission.refusal(asking("100m", init="1500m"), one, {}, capacity)
    assert refusal is not None
    assert refusal[0] == "OutOfcpu"
    assert "requested: 1500, used: 1000, capacity: 2000" in refusal[1]
    three = admission.used_by([asking("0")] * 3)
    full = admission.refusal(asking("0"), three, {}, capacity)
    assert full is not None
    assert full[0] == "OutOfpods"


def test_users_and_groups_come_from_the_container_before_the_pod() -> None:
    obj = pod(securityContext={"runAsUser": 1000, "runAsGroup": 5, "fsGroup": 7})
    own = {"name": "main", "securityContext": {"runAsUser": 2000}}
    assert container_config.identity(obj, own) == (2000, 5, [7])
    with pytest.raises(ConfigError, match="runAsNonRoot"):
        container_config.identity(
            pod(), {"name": "main", "securityContext": {"runAsNonRoot": True, "runAsUser": 0}}
        )


STAMP = "2026-01-01T00:00:0{}.500000000Z stdout {} {}"


def log_file(tmp_path: Path, *entries: tuple[int, str, str]) -> str:
    path = tmp_path / "0.log"
    path.write_text("".join(STAMP.format(*entry) + "\n" for entry in entries))
    return str(path)


def read(path: str, **options: Any) -> str:
    async def test() -> bytes:
        clock = system_seams().clock
        chunks = logs.read(path, LogOptions(**options), clock, lambda: False)
        return b"".join([chunk async for chunk in chunks])

    return asyncio.run(test()).decode()


def test_logs_are_cut_by_tail_time_and_size(tmp_path: Path) -> None:
    path = log_file(
        tmp_path, (1, "F", "one"), (2, "P", "tw"), (2, "F", "o"), (3, "F", ""), (4, "P", "end")
    )
    assert read(path) == "one\ntwo\n\nend"
    assert [read(path, tail_lines=n) for n in (0, 1, 2, 3, 4, 9)] == [
        "",
        "end",
        "\nend",
        "two\n\nend",
        "one\ntwo\n\nend",
        "one\ntwo\n\nend",
    ]
    assert read(path, since_s=1767225603.0) == "\nend"
    assert read(path, limit_bytes=5) == "one\nt"
    assert read(path, timestamps=True, tail_lines=1) == "2026-01-01T00:00:04.500000000Z end"


def test_following_reads_on_over_a_rotation_until_the_container_ends(tmp_path: Path) -> None:
    path = log_file(tmp_path, (1, "F", "one"))
    running = [True]

    async def test() -> bytes:
        clock = system_seams().clock
        got = b""
        async for chunk in logs.read(path, LogOptions(follow=True), clock, lambda: running[0]):
            got += chunk
            if got == b"one\n":
                os.rename(path, path + ".1")
                log_file(tmp_path, (2, "F", "two"))
            elif got == b"one\ntwo\n":
                with open(path, "a") as file:
                    file.write(STAMP.format(3, "F", "three") + "\n")
                running[0] = False
        return got

    assert asyncio.run(asyncio.wait_for(test(), 10)) == b"one\ntwo\nthree\n"


def test_following_misses_nothing_when_the_log_is_rotated_twice_between_two_looks(
    tmp_path: Path,
) -> None:
    path = log_file(tmp_path, (1, "F", "one"))
    running = [True]

    async def test() -> bytes:
        clock = system_seams().clock
        got = b""
        async for chunk in logs.read(path, LogOptions(follow=True), clock, lambda: running[0]):
            got += chunk
            if got == b"one\n":
                with open(path, "a") as file:
                    file.write(STAMP.format(2, "F", "late") + "\n")
                os.rename(path, path + ".1")
                log_file(tmp_path, (3, "F", "two"))
                os.rename(path + ".1", path + ".2")
                os.rename(path, path + ".1")
                log_file(tmp_path, (4, "F", "three"))
                running[0] = False
        return got

    assert asyncio.run(asyncio.wait_for(test(), 10)) == b"one\nlate\ntwo\nthree\n"


def test_a_line_in_parts_shows_its_time_once_and_streams_are_told_apart(tmp_path: Path) -> None:
    path = log_file(tmp_path, (1, "P", "a"), (2, "F", "b"), (3, "F", "c"))
    assert read(path, timestamps=True) == (
        "2026-01-01T00:00:01.500000000Z ab\n2026-01-01T00:00:03.500000000Z c\n"
    )
    with open(path, "a") as file:
        file.write("2026-01-01T00:00:04.0Z stderr F oops\n")
    assert read(path, stream="stderr") == "oops\n"
    assert read(path, stream="stdout") == "ab\nc\n"
