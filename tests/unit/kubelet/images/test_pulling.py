"""Pulls from a real registry and from one that misbehaves."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from registries import (
    DOCKER_REGISTRY,
    PASSWORD,
    USER,
    OwnRegistry,
    docker_registry,
    own_registry,
)

from actors.seams import system_seams
from cluster.kubelet.images import credentials, settings
from cluster.kubelet.images.layers import Bounds
from cluster.kubelet.images.local import LocalImages
from cluster.kubelet.images.names import parse
from cluster.kubelet.images.roots import Roots
from cluster.kubelet.images.store import ImageStore
from cluster.kubelet.runtimes.images import Credentials, Image, PullFailed
from cluster.pki import Authority

needs_registry = pytest.mark.skipif(
    DOCKER_REGISTRY is None, reason="docker-registry is not installed"
)
KNOWN = Credentials(USER, PASSWORD)


def images_at(store: ImageStore, **registries: Any) -> LocalImages:
    return LocalImages(store, settings.parse(registries), system_seams())


def pull(
    store: ImageStore, name: str, known: Credentials | None = None, **registries: Any
) -> Image:
    async def run() -> Image:
        images = images_at(store, **registries)
        found = await images.pull(name, known)
        assert await images.find(name) == found
        prepared = await images.prepare(name)
        assert prepared is not None
        os.close(prepared.lock)
        assert (Path(prepared.root) / "a").read_bytes() == b"1" * 300_000
        return found

    return asyncio.run(run())


def failure(
    store: ImageStore, name: str, known: Credentials | None = None, **registries: Any
) -> str:
    with pytest.raises(PullFailed) as found:
        pull(store, name, known, **registries)
    assert not [entry for entry in store.images() if entry.is_named(parse(name))]
    return str(found.value)


@pytest.fixture
def layout(made: Any, tmp_path: Path) -> Path:
    folder: Path = made.layout(tmp_path / "layout", "x:1", made.tar_of(("a", b"1" * 300_000)))
    return folder


@needs_registry
def test_by_tag_and_by_digest_from_debians_registry(
    layout: Path, store: ImageStore, tmp_path: Path
) -> None:
    with docker_registry(tmp_path / "registry") as registry:
        digest = registry.push(layout, "team/app", "v1")
        plain = {registry.address: {"plain_http": True}}
        found = pull(store, f"{registry.address}/team/app:v1", **plain)
        assert found.reference == f"{registry.address}/team/app@{digest}"
        again = pull(store, f"{registry.address}/team/app@{digest}", **plain)
        assert again.id == found.id
        text = failure(store, f"{registry.address}/team/app:v2", **plain)
        assert "not found" in text
        wrong = "sha256:" + "0" * 64
        assert "not found" in failure(store, f"{registry.address}/team/app@{wrong}", **plain)
        mirrored = {"docker.io": {"mirrors": ["http://127.0.0.1:9", f"http://{registry.address}"]}}
        assert pull(store, "docker.io/team/app:v1", **mirrored).id == found.id


@needs_registry
def test_tls_and_passwords_at_debians_registry(
    layout: Path, store: ImageStore, tmp_path: Path
) -> None:
    authority = Authority.create("registry-ca")
    pair = authority.issue("registry", names=["127.0.0.1"])
    files = {"ca": authority.pair.certificate, "cert": pair.certificate, "key": pair.key}
    tls = {name: tmp_path / f"registry.{name}" for name in files}
    for name, data in files.items():
        tls[name].write_bytes(data)
    with docker_registry(tmp_path / "registry", password=True, tls=tls) as registry:
        registry.push(layout, "app", "1")
        name = f"{registry.address}/app:1"
        trusted = {registry.address: {"ca": str(tls["ca"])}}
        assert "certificate" in failure(store, name, KNOWN, **{registry.address: {}})
        assert "authoriz" in failure(store, name, **trusted)
        assert "denied" in failure(store, name, Credentials(USER, "wrong"), **trusted)
        pull(store, name, KNOWN, **{registry.address: {"insecure": True}})
        assert pull(store, name, KNOWN, **trusted).tags == (name,)


@pytest.fixture
def own(layout: Path) -> Any:
    with own_registry(layout) as found:
        yield found


def plainly(own: OwnRegistry) -> tuple[str, dict[str, Any]]:
    return f"{own.address}/app:1", {own.address: {"plain_http": True}}


def test_a_token_is_asked_for_with_the_pull_secret(own: OwnRegistry, store: ImageStore) -> None:
    own.token = "t0ken"
    name, plain = plainly(own)
    assert "denied" in failure(store, name, **plain)
    pull(store, name, KNOWN, **plain)
    sent = [(path, headers.get("authorization", "")) for path, headers in own.seen]
    asked = [path for path, authorization in sent if authorization.startswith("Basic")]
    assert asked
    assert all(path.startswith("/token?") for path in asked), "the password goes nowhere else"
    assert any("scope=repository%3Aapp%3Apull" in path for path in asked)


def test_a_download_that_breaks_off_goes_on(own: OwnRegistry, store: ImageStore) -> None:
    own.cut_bytes = 150
    name, plain = plainly(own)
    pull(store, name, **plain)
    ranges = [headers["range"] for _, headers in own.seen if "range" in headers]
    assert "bytes=150-" in ranges


def test_after_too_many_breaks_a_later_pull_goes_on(own: OwnRegistry, store: ImageStore) -> None:
    own.cut_bytes = 20
    name, plain = plainly(own)
    assert "broke off" in failure(store, name, **plain)
    own.seen.clear()
    own.cut_bytes = 0
    pull(store, name, **plain)
    assert any(headers.get("range") == "bytes=100-" for _, headers in own.seen)


def test_what_is_not_of_its_digest_is_refused(own: OwnRegistry, store: ImageStore) -> None:
    name, plain = plainly(own)
    layer = json.loads(own.blobs[own.top])["layers"][0]["digest"]
    good = own.blobs[layer]
    own.wrong[layer] = good[:-1] + bytes([good[-1] ^ 1])
    assert "digest" in failure(store, name, **plain)
    own.wrong[layer] = good + b"more"
    assert "longer than announced" in failure(store, name, **plain)
    own.wrong = {"manifest": json.dumps({"schemaVersion": 1}).encode()}
    assert "schema version 2" in failure(store, name, **plain)
    assert "came with digest" in failure(store, f"{own.address}/app@{own.top}", **plain)
    own.wrong = {"manifest": b"{" * 5_000_000}
    assert "longer than" in failure(store, name, **plain)
    own.wrong = {}
    pull(store, name, **plain)


def test_redirects_lose_the_authorization_and_end(
    own: OwnRegistry, store: ImageStore, layout: Path
) -> None:
    name, plain = plainly(own)
    with own_registry(layout) as other:
        own.token, own.redirect = "t0ken", f"http://{other.address}"
        pull(store, name, KNOWN, **plain)
        assert other.seen
        assert not any("authorization" in headers for _, headers in other.seen)
    store.forget(store.images()[0].image_id)
    own.redirect = f"http://{own.address}"
    assert "redirects" in failure(store, name, KNOWN, **plain)
    own.redirect = "file:///etc/passwd?"
    assert "not HTTP" in failure(store, name, KNOWN, **plain)


@pytest.mark.parametrize("bad", ["whiteout", "hard link", "bomb", "other layer"])
def test_an_image_that_cannot_be_unpacked_was_not_pulled(
    bad: str, made: Any, store: ImageStore, tmp_path: Path
) -> None:
    entries = {
        "whiteout": ("d/.wh...", b""),
        "hard link": ("h", {"type": tarfile.LNKTYPE, "linkname": "../../etc/passwd.none"}),
        "bomb": ("zeros", bytes(4 << 20)),
        "other layer": ("a", b"1"),
    }
    layer = made.tar_of(entries[bad])
    folder = made.layout(tmp_path / "layout", "x:1", layer)
    if bad == "other layer":
        folder = made.layout(tmp_path / "other", "x:1", layer, diff_ids=["sha256:" + "0" * 64])
    with own_registry(folder) as own:
        name, plain = plainly(own)

        async def run() -> None:
            images = images_at(store, **plain)
            images.roots = Roots(store, Bounds(size_bytes=1 << 20))
            with pytest.raises(PullFailed, match="failed to unpack image"):
                await images.pull(name, None)
            assert await images.find(name) is None
            assert not [each for each in os.listdir(store.folder + "/roots") if each[0] != "."]

        asyncio.run(run())


def test_registries_that_are_not_set_up_are_not_asked(store: ImageStore) -> None:
    async def run() -> None:
        images = images_at(store, **{"example.com": {}})
        assert (await images.find("busybox")) is not None  # the host's own files
        assert (await images.find("example.com/a:1")) is None
        with pytest.raises(PullFailed, match="not set up"):
            await images.pull("busybox", None)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("value", "what"),
    [([], "mapping"), ({"a": 1}, "settings"), ({"a": {"x": 1}}, "'x'"),
     ({"a": {"mirrors": ["ftp://x"]}}, "mirrors")],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(value: Any, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        settings.parse(value)


def test_pull_secrets_fit_by_host_and_path() -> None:
    def secret(auths: dict[str, Any]) -> dict[str, Any]:
        data = base64.b64encode(json.dumps({"auths": auths}).encode()).decode()
        return {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": data}}

    def auth(name: str) -> dict[str, str]:
        return {"auth": base64.b64encode(f"{name}:p".encode()).decode()}

    secrets = [
        secret({"r.example.com/team": auth("team"), "https://r.example.com/v2/": auth("all")}),
        secret({"*.example.com": auth("any"), "https://index.docker.io/v1/": auth("hub")}),
        {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "!"}},
        {"type": "Opaque"},
    ]

    def users(image: str) -> list[str]:
        return [each.username for each in credentials.of_secrets(secrets, parse(image))]

    assert users("r.example.com/team/app") == ["all", "team", "any"]
    assert users("r.example.com/teams") == ["all", "any"]
    assert users("a.b.example.com/x") == []
    assert users("busybox") == ["hub"]
    assert users("evil.com/r.example.com") == []
