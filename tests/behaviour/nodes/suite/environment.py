"""Environment variables, the downward API in them, commands and arguments."""

from __future__ import annotations

from typing import Any

from suite.printed import Check, Facts, Group, configmap, secret
from suite.runtimes import SAYING

Object = dict[str, Any]

DATA = {"data-1": "value-1", "data-2": "value-2"}
LIMITED = {"resources": {"requests": {"cpu": "250m", "memory": "32Mi"},
                         "limits": {"cpu": "1250m", "memory": "64Mi"}}}  # fmt: skip


def _field(**paths: str) -> Object:
    refs = {name: {"fieldRef": {"fieldPath": path}} for name, path in paths.items()}
    return {"env": [{"name": name, "valueFrom": source} for name, source in refs.items()]}


def _resource(**names: str) -> list[Object]:
    refs = {name: {"resourceFieldRef": {"resource": of}} for name, of in names.items()}
    return [{"name": name, "valueFrom": source} for name, source in refs.items()]


AMOUNTS = {"CPU_LIMIT": "limits.cpu", "MEMORY_LIMIT": "limits.memory"}
REQUESTS = {"CPU_REQUEST": "requests.cpu", "MEMORY_REQUEST": "requests.memory"}


def allocatable(facts: Facts) -> tuple[int, int]:
    """Whole processors, and bytes of memory."""
    found = facts.node["status"]["allocatable"]
    cpu = found["cpu"]
    cores = -(-int(cpu[:-1]) // 1000) if cpu.endswith("m") else int(cpu)
    memory = found["memory"]
    size = int(memory[:-2]) * 1024 if memory.endswith("Ki") else int(memory)
    return cores, size


def _status(*names: str) -> Any:
    def says(facts: Facts) -> str:
        return "\n".join(str(facts.pod["status"][name]) for name in names)

    return says


def _ips(facts: Facts) -> str:
    return ",".join(entry["ip"] for entry in facts.pod["status"]["hostIPs"])


def _identity(facts: Facts) -> str:
    metadata = facts.pod["metadata"]
    return f"{metadata['name']} {metadata['namespace']} {facts.pod['status']['podIP']}"


ENVIRONMENT = Group(
    "environment",
    (
        Check(
            "[sig-node] ConfigMap should be consumable via environment variable",
            "echo $ONE", "value-1",
            {"env": [{"name": "ONE", "valueFrom": {
                "configMapKeyRef": {"name": "env", "key": "data-1"}}}]},
        ),
        Check(
            "[sig-node] ConfigMap should be consumable via the environment",
            "env | grep '^data_' | sort", "data_1=value-1\ndata_2=value-2",
            {"envFrom": [{"configMapRef": {"name": "env-names"}}]},
        ),
        Check(
            "[sig-node] ConfigMap should be consumable as environment variable names with various"
            " prefixes",
            "",
            "p-data_1=value-1\np.data_1=value-1\np_data_1=value-1",
            {"command": ["env"],
             "envFrom": [{"prefix": p, "configMapRef": {"name": "env-one"}}
                         for p in ("p_", "p-", "p.")]},
            lines="p[-._]",
        ),
        Check(
            "[sig-node] Secrets should be consumable from pods in env vars",
            "echo $ONE", "value-1",
            {"env": [{"name": "ONE", "valueFrom": {
                "secretKeyRef": {"name": "env", "key": "data-1"}}}]},
        ),
        Check(
            "[sig-node] Secrets should be consumable via the environment",
            "env | grep '^data_' | sort", "data_1=value-1\ndata_2=value-2",
            {"envFrom": [{"secretRef": {"name": "env-names"}}]},
        ),
        Check(
            "[sig-node] Secrets should be consumable as environment variable names variable names"
            " with various prefixes",
            "",
            "p-data_1=value-1\np.data_1=value-1\np_data_1=value-1",
            {"command": ["env"],
             "envFrom": [{"prefix": p, "secretRef": {"name": "env-one"}}
                         for p in ("p_", "p-", "p.")]},
            lines="p[-._]",
        ),
        Check(
            "[sig-node] Downward API should provide pod name, namespace and IP address as env vars",
            "echo $NAME $NAMESPACE $IP", _identity,
            _field(NAME="metadata.name", NAMESPACE="metadata.namespace", IP="status.podIP"),
        ),
        Check(
            "[sig-node] Downward API should provide host IP as an env var",
            "echo $IP", _status("hostIP"), _field(IP="status.hostIP"),
        ),
        Check(
            "[sig-node] Downward API should provide hostIPs as an env var",
            "echo $IPS", _ips, _field(IPS="status.hostIPs"),
        ),
        Check(
            "[sig-node] Downward API should provide pod UID as env vars",
            "echo $ID", lambda facts: facts.pod["metadata"]["uid"], _field(ID="metadata.uid"),
        ),
        Check(
            "[sig-node] Downward API should provide container's limits.cpu/memory and"
            " requests.cpu/memory as env vars",
            "echo $CPU_LIMIT $MEMORY_LIMIT $CPU_REQUEST $MEMORY_REQUEST",
            f"2 {64 << 20} 1 {32 << 20}",
            {**LIMITED, "env": _resource(**AMOUNTS, **REQUESTS)},
        ),
        Check(
            "[sig-node] Downward API should provide default limits.cpu/memory from node"
            " allocatable",
            "echo $CPU_LIMIT $MEMORY_LIMIT",
            lambda facts: "{} {}".format(*allocatable(facts)),
            {"env": _resource(**AMOUNTS)},
        ),
        Check(
            "[sig-node] Variable Expansion should allow composing env vars into new env vars",
            'echo "$BOTH $LATE"', "foo-value;;bar-value $(NONE)",
            {"env": [{"name": "FOO", "value": "foo-value"}, {"name": "BAR", "value": "bar-value"},
                     {"name": "BOTH", "value": "$(FOO);;$(BAR)"},
                     {"name": "LATE", "value": "$(NONE)"}]},
        ),
        Check(
            "[sig-node] Variable Expansion should allow substituting values in a container's"
            " command",
            "", "test-value",
            {"env": [{"name": "VALUE", "value": "test-value"}],
             "command": ["sh", "-c", "VALUE=other; echo \"$(VALUE)\""]},
        ),
        Check(
            "[sig-node] Variable Expansion should allow substituting values in a container's args",
            "", "test-value $(VALUE)",
            {"env": [{"name": "VALUE", "value": "test-value"}],
             "command": ["sh", "-c"], "args": ["VALUE=other; echo \"$(VALUE)\" '$$(VALUE)'"]},
        ),
        Check(
            "[sig-node] Containers should be able to override the image's default command and"
            " arguments",
            "", "a b", {"command": ["echo"], "args": ["a", "b"]},
        ),
        Check(
            "[sig-node] Containers should be able to override the image's default command"
            " (container entrypoint)",
            "", "entrypoint", {"command": ["echo", "entrypoint"]},
        ),
        Check(
            "[sig-node] Containers should use the image defaults if command and args are blank",
            "", "said by default", {"image": SAYING, "command": []}, ("image",),
        ),
        Check(
            "[sig-node] Containers should be able to override the image's default arguments"
            " (container cmd)",
            "", "said otherwise", {"image": SAYING, "command": [], "args": ["otherwise"]},
            ("image",),
        ),
        Check(
            "[sig-node] Pods should contain environment variables for services",
            "echo $FOOSERVICE_SERVICE_HOST $FOOSERVICE_SERVICE_PORT $FOOSERVICE_PORT_8765_TCP_PORT"
            " $FOOSERVICE_PORT_8765_TCP_PROTO $FOOSERVICE_PORT",
            lambda facts: f"{facts.service_ip} 8765 8765 tcp tcp://{facts.service_ip}:8765",
        ),
    ),
    objects=(
        configmap("env", DATA), secret("env", DATA),
        configmap("env-names", {"data_1": "value-1", "data_2": "value-2"}),
        secret("env-names", {"data_1": "value-1", "data_2": "value-2"}),
        configmap("env-one", {"data_1": "value-1"}), secret("env-one", {"data_1": "value-1"}),
    ),
)  # fmt: skip
