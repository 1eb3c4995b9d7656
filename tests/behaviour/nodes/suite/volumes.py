"""Volumes that are made from objects, emptyDir and subPath: what is in them, and with what mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from suite.environment import DATA, LIMITED, allocatable
from suite.printed import ROOT, Check, Facts, Group, configmap, mounted, secret
from suite.runtimes import Node

Object = dict[str, Any]

MODE = f"stat -L -c %a {ROOT}"
BINARY = {"binaryData": {"dump.bin": "3q3+7w=="}}
ITEMS = [{"key": "data-2", "path": "path/to/data-2"}]
ITEM_MODES = [{"key": "data-2", "path": "path/to/data-2", "mode": 0o400}]

Wrap = Callable[[Object], Object]


def _plain(source: Object) -> Object:
    return source


def _projected(source: Object) -> Object:
    """The same as the one source of a projected volume: the mode belongs to the volume."""
    ((kind, said),) = source.items()
    inner = {k: v for k, v in said.items() if k != "defaultMode"}
    if kind == "secret":
        inner["name"] = inner.pop("secretName")
    mode = {"defaultMode": said["defaultMode"]} if "defaultMode" in said else {}
    return {"projected": {"sources": [{kind: inner}], **mode}}


def _source(kind: str, name: str, **more: Any) -> Object:
    key = "secretName" if kind == "secret" else "name"
    return {kind: {key: name, **more}}


def _as_non_root(container: Object) -> Callable[[Node], Object]:
    def made(node: Node) -> Object:
        return {**container, "securityContext": node.non_root}

    return made


def _object_checks(subject: str, pod: str) -> tuple[Check, ...]:
    """What ConfigMaps and Secrets have in common."""
    start = f"{subject} should be consumable"
    twice = "in multiple volumes in the same pod" if pod == "configMap" else (
        "in multiple volumes in a pod")  # fmt: skip
    item_mode = "Item mode" if pod == "configMap" else "Item Mode"
    return (
        Check(
            f"{start} from pods in volume",
            f"cat {ROOT}/v/data-1; echo; {MODE}/v/data-1", "value-1\n644", mounted(plain="/v"),
        ),
        Check(
            f"{start} from pods in volume with defaultMode set",
            f"cat {ROOT}/v/data-1; echo; {MODE}/v/data-1", "value-1\n400", mounted(mode="/v"),
        ),
        Check(
            f"{start} from pods in volume with mappings",
            f"cat {ROOT}/v/path/to/data-2; ls {ROOT}/v", "value-2path", mounted(items="/v"),
        ),
        Check(
            f"{start} from pods in volume with mappings and {item_mode} set",
            f"{MODE}/v/path/to/data-2", "400", mounted(itemmode="/v"),
        ),
        Check(
            f"{start} {twice}",
            f"cat {ROOT}/v1/data-1 {ROOT}/v2/data-1", "value-1value-1",
            mounted(plain="/v1", second="/v2"),
        ),
    )  # fmt: skip


def _object_volumes(kind: str, name: str, wrap: Wrap) -> Object:
    sources = {
        "plain": _source(kind, name),
        "second": _source(kind, name),
        "mode": _source(kind, name, defaultMode=0o400),
        "items": _source(kind, name, items=ITEMS),
        "itemmode": _source(kind, name, items=ITEM_MODES),
    }
    return {"volumes": [{"name": n, **wrap(source)} for n, source in sources.items()]}


def _configmaps(subject: str, name: str, wrap: Wrap) -> Group:
    start = f"{subject} should be consumable from pods in volume"
    as_other = (
        Check(
            f"{start} as non-root",
            f"cat {ROOT}/v/data-1; id -u | grep -c '^0' || true", "value-10",
            _as_non_root(mounted(plain="/v")),
        ),
        Check(
            f"{start} with mappings as non-root",
            f"cat {ROOT}/v/path/to/data-2; id -u | grep -c '^0' || true", "value-20",
            _as_non_root(mounted(items="/v")),
        ),
    )  # fmt: skip
    checks = (*_object_checks(subject, "configMap"), *as_other)
    volumes = _object_volumes("configMap", name, wrap)
    return Group(name, checks, volumes, objects=(configmap(name, DATA),))


def _secrets(subject: str, name: str, wrap: Wrap) -> Group:
    volumes = _object_volumes("secret", name, wrap)
    checks = _object_checks(subject, "secret")
    return Group(name, checks, volumes, objects=(secret(name, DATA),))


def _owned_secret(subject: str, name: str, wrap: Wrap) -> Group:
    """fsGroup belongs to the whole pod."""
    check = Check(
        f"{subject} should be consumable from pods in volume as non-root with defaultMode and"
        " fsGroup set",
        f"cat {ROOT}/v/data-1; echo; stat -L -c '%a %g' {ROOT}/v/data-1; id -u",
        "value-1\n440 1001\n1000", mounted(plain="/v"), ("root",),
    )  # fmt: skip
    volume = {"name": "plain", **wrap(_source("secret", name, defaultMode=0o440))}
    context = {"runAsUser": 1000, "fsGroup": 1001}
    spec = {"volumes": [volume], "securityContext": context}
    return Group(name, (check,), spec, objects=(secret(name, DATA),))


BINARY_DATA = Group(
    "binary",
    (
        Check(
            "[sig-storage] ConfigMap binary data should be reflected in volume",
            f"od -An -tx1 {ROOT}/v/dump.bin; cat {ROOT}/v/data-1", " de ad fe ef\nvalue-1".strip(),
            mounted(binary="/v"),
        ),
        Check(
            "[sig-storage] EmptyDir wrapper volumes should not conflict",
            f"cat {ROOT}/etc/c/data-1 {ROOT}/etc/s/data-2", "value-1value-2",
            mounted(binary="/etc/c", secret="/etc/s"),
        ),
        Check(
            "[sig-storage] Projected combined should project all components that make up the"
            " projection API",
            f"cat {ROOT}/all/name {ROOT}/all/conf {ROOT}/all/key", "binaryvalue-1value-2",
            mounted(all="/all"),
        ),
    ),
    {"volumes": [
        {"name": "binary", "configMap": {"name": "binary"}},
        {"name": "secret", "secret": {"secretName": "binary"}},
        {"name": "all", "projected": {"sources": [
            {"configMap": {"name": "binary", "items": [{"key": "data-1", "path": "conf"}]}},
            {"secret": {"name": "binary", "items": [{"key": "data-2", "path": "key"}]}},
            {"downwardAPI": {"items": [
                {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        ]}},
    ]},
    objects=(configmap("binary", DATA, **BINARY), secret("binary", DATA)),
)  # fmt: skip


def _downward(subject: str, name: str, wrap: Wrap) -> Group:
    """`wrap` puts the items of the downward API into a volume."""

    def item(path: str, resource: str) -> Object:
        reference = {"containerName": "limited", "resource": resource}
        if resource.startswith("free."):
            reference = {"containerName": "free", "resource": resource.removeprefix("free.")}
        if resource.endswith("cpu"):
            reference["divisor"] = "1m"
        return {"path": path, "resourceFieldRef": reference}

    podname = {"path": "podname", "fieldRef": {"fieldPath": "metadata.name"}}
    items = [
        podname,
        {**podname, "path": "podname-mode", "mode": 0o400},
        item("cpu_limit", "limits.cpu"), item("memory_limit", "limits.memory"),
        item("cpu_request", "requests.cpu"), item("memory_request", "requests.memory"),
        item("cpu_default", "free.limits.cpu"), item("memory_default", "free.limits.memory"),
    ]  # fmt: skip
    start, mount = f"{subject} should", mounted(downward="/v")
    fixed = {
        "provide container's cpu limit": ("cat {}/v/cpu_limit", "1250"),
        "provide container's cpu request": ("cat {}/v/cpu_request", "250"),
        "provide container's memory limit": ("cat {}/v/memory_limit", str(64 << 20)),
        "provide container's memory request": ("cat {}/v/memory_request", str(32 << 20)),
        "provide podname only": ("cat {}/v/podname", name),
        "set mode on item file": ("stat -L -c %a {}/v/podname-mode", "400"),
    }
    checks = [Check(f"{start} {r}", s.format(ROOT), o, mount) for r, (s, o) in fixed.items()]

    def of_node(index: int, factor: int) -> Callable[[Facts], str]:
        return lambda facts: str(allocatable(facts)[index] * factor)

    default = (
        f"{start} provide node allocatable ({{}}) as default {{}} limit if the limit is not set"
    )
    checks += [
        Check(
            default.format("cpu", "cpu"), f"cat {ROOT}/v/cpu_default", of_node(0, 1000), mount
        ),
        Check(
            default.format("memory", "memory"), f"cat {ROOT}/v/memory_default", of_node(1, 1),
            mount,
        ),
        Check(f"{start} set DefaultMode on files", f"{MODE}/m/podname", "400", mounted(mode="/m")),
    ]  # fmt: skip
    volumes = [
        {"name": "downward", **wrap({"downwardAPI": {"items": items}})},
        {"name": "mode", **wrap({"downwardAPI": {"items": [podname], "defaultMode": 0o400}})},
    ]
    sleeping = {"command": ["sh", "-c", "exit 0"]}
    beside = ({"name": "limited", **sleeping, **LIMITED}, {"name": "free", **sleeping})
    return Group(name, tuple(checks), {"volumes": volumes}, beside=beside)


def _empty_dirs() -> Group:
    """A file of each mode by root and by somebody else, on disk and in memory."""
    checks = []
    for medium, needs in (("default", ()), ("tmpfs", ("root",))):
        mount = mounted(**{medium: "/v"})
        kind = f"; stat -f -c %T {ROOT}/v" if medium == "tmpfs" else ""
        of = "tmpfs" if medium == "tmpfs" else "default medium"
        checks.append(
            Check(
                f"[sig-storage] EmptyDir volumes volume on {of} should have the correct mode",
                f"{MODE}/v{kind}", "777\ntmpfs" if kind else "777", mount, needs,
            )
        )  # fmt: skip
        for who in ("non-root", "root"):
            for mode in ("0644", "0666", "0777"):
                name = f"{who}-{mode}-{medium}"
                script = (
                    f"echo content > {ROOT}/v/{name} && chmod {mode} {ROOT}/v/{name} &&"
                    f" cat {ROOT}/v/{name} && {MODE}/v/{name} && id -u | grep -c '^0'"
                )
                zero = "1" if who == "root" else "0"
                container = mount if who == "root" else _as_non_root(mount)
                more = ("root",) if who == "root" else needs
                checks.append(
                    Check(
                        f"[sig-storage] EmptyDir volumes should support ({who},{mode},{medium})",
                        script + (" || true" if zero == "0" else ""),
                        f"content\n{mode[1:]}\n{zero}", container, more,
                    )
                )  # fmt: skip

    def volumes(node: Node) -> Object:
        found = [{"name": "default", "emptyDir": {}}]
        if node.runtime != "process-user":
            found.append({"name": "tmpfs", "emptyDir": {"medium": "Memory"}})
        return {"volumes": found}

    return Group("empty", tuple(checks), volumes)


def _sub(volume: str, path: str, at: str) -> Object:
    return {"volumeMounts": [{"name": volume, "mountPath": at, "subPath": path}]}


SUB_PATHS = Group(
    "sub-paths",
    (
        Check(
            "[sig-storage] Subpath Atomic writer volumes should support subpaths with configmap"
            " pod",
            f"cat {ROOT}/one", "value-1", _sub("conf", "data-1", "/one"),
        ),
        Check(
            "[sig-storage] Subpath Atomic writer volumes should support subpaths with configmap"
            " pod with mountPath of existing file",
            f"cat {ROOT}/etc/passwd", "value-1", _sub("conf", "data-1", "/etc/passwd"),
        ),
        Check(
            "[sig-storage] Subpath Atomic writer volumes should support subpaths with downward pod",
            f"cat {ROOT}/one", "sub-paths", _sub("down", "name", "/one"),
        ),
        Check(
            "[sig-storage] Subpath Atomic writer volumes should support subpaths with projected"
            " pod",
            f"cat {ROOT}/sub/data-2", "value-2", _sub("proj", "sub", "/sub"),
        ),
        Check(
            "[sig-storage] Subpath Atomic writer volumes should support subpaths with secret pod",
            f"cat {ROOT}/one", "value-1", _sub("secret", "data-1", "/one"),
        ),
        Check(
            "[sig-node] Variable Expansion should allow substituting values in a volume subpath",
            f"echo expanded > {ROOT}/sub/file; cat {ROOT}/all/sub-paths/file", "expanded",
            {"env": [{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
             "volumeMounts": [{"name": "empty", "mountPath": "/all"},
                              {"name": "empty", "mountPath": "/sub", "subPathExpr": "$(NAME)"}]},
        ),
    ),
    {"volumes": [
        {"name": "conf", "configMap": {"name": "sub"}},
        {"name": "secret", "secret": {"secretName": "sub"}},
        {"name": "empty", "emptyDir": {}},
        {"name": "down", "downwardAPI": {"items": [
            {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"name": "proj", "projected": {"sources": [{"configMap": {
            "name": "sub", "items": [{"key": "data-2", "path": "sub/data-2"}]}}]}},
    ]},
    objects=(configmap("sub", DATA), secret("sub", DATA)),
)  # fmt: skip


GROUPS = (
    _configmaps("[sig-storage] ConfigMap", "configmaps", _plain),
    _configmaps("[sig-storage] Projected configMap", "projected-configmaps", _projected),
    _secrets("[sig-storage] Secrets", "secrets", _plain),
    _secrets("[sig-storage] Projected secret", "projected-secrets", _projected),
    _owned_secret("[sig-storage] Secrets", "owned-secret", _plain),
    _owned_secret("[sig-storage] Projected secret", "projected-owned-secret", _projected),
    BINARY_DATA,
    _downward("[sig-storage] Downward API volume", "downward", _plain),
    _downward("[sig-storage] Projected downwardAPI", "projected-downward", _projected),
    _empty_dirs(),
    SUB_PATHS,
)
