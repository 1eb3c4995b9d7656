"""`raykube certificates`, over the folder of a cluster that does not run."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography import x509

from actors.group import KEPT, write_files
from cluster import pki
from cluster.cli import kubeconfig, renewal
from cluster.cli.certificates import certificates
from cluster.cli.renewal import Certificate, using
from cluster.compose import Shape


@pytest.fixture
def shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shape:
    found = Shape(name="c", folder=str(tmp_path), network=18)
    monkeypatch.setattr(renewal.clusters, "load", lambda name: found)
    authority = pki.Authority.create("ca")
    (tmp_path / "pki").mkdir()

    def save(name: str, pair: pki.KeyPair) -> None:
        (tmp_path / "pki" / f"{name}.crt").write_bytes(pair.certificate)
        (tmp_path / "pki" / f"{name}.key").write_bytes(pair.key)

    save("ca", authority.pair)
    other = pki.Authority.create("front-proxy-ca")  # whoever it vouches for is not ours to renew
    save("front-proxy-ca", other.pair)
    save("api-server-0-proxy-client", other.issue("front-proxy"))
    save("store-client", authority.issue("root", ["raykube:store"]))
    monkeypatch.setattr(pki, "VALID", datetime.timedelta(days=10))
    save("api-server-0", authority.issue("kube-apiserver", names=["127.0.0.1", "kubernetes"]))
    admin = authority.issue("kubernetes-admin", ["system:masters"])
    monkeypatch.undo()
    monkeypatch.setattr(renewal.clusters, "load", lambda name: found)
    config = kubeconfig.build("c", "https://127.0.0.1:1", authority.pair.certificate, admin)
    kubeconfig.write(tmp_path / "kubeconfig", config)
    (tmp_path / "actors").write_text("store-0\napi-server-0")
    return found


def run(*arguments: str) -> str:
    result = CliRunner().invoke(certificates, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def test_certificates_are_listed_by_their_end(shape: Shape) -> None:
    lines = run("list").splitlines()
    assert [line.split()[-1] for line in lines][-1] == "store-client"
    assert "9 days  kube-apiserver " in run("list")


def test_what_ends_soon_is_renewed_for_the_same_names(
    shape: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    restarted: list[str] = []
    monkeypatch.setattr(renewal, "_restart", lambda shape, actor: restarted.append(actor))
    before = {each.name: each for each in renewal.found(shape)}
    run("renew", "--quiet")
    after = {each.name: each for each in renewal.found(shape)}
    year = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=300)
    assert all(each.ends > year for each in after.values())
    assert before["store-client"] == after["store-client"]
    assert {*after} == {"api-server-0", "store-client", "kubeconfig"}
    for name in ("api-server-0", "kubeconfig"):
        old, new = before[name], after[name]
        assert (old.user, old.groups, old.names) == (new.user, new.groups, new.names)
    assert restarted == ["api-server-0"]
    cert = x509.load_pem_x509_certificate(Path(shape.path("pki", "api-server-0.crt")).read_bytes())
    cert.verify_directly_issued_by(
        x509.load_pem_x509_certificate(Path(shape.path("pki", "ca.crt")).read_bytes())
    )
    run("renew", "--quiet")
    assert restarted == ["api-server-0"]  # there is nothing left to do


def test_what_was_renewed_is_not_written_over_when_its_user_starts(tmp_path: Path) -> None:
    kept, other = str(tmp_path / "kept"), str(tmp_path / "other")
    files = [(kept, b"old"), (other, b"old")]
    write_files(files)
    Path(kept).write_bytes(b"new")
    Path(kept + KEPT).touch()
    Path(other).write_bytes(b"new")
    write_files(files)
    assert (Path(kept).read_bytes(), Path(other).read_bytes()) == (b"new", b"old")


def test_actors_are_found_by_the_names_of_their_files() -> None:
    def certificate(name: str) -> Certificate:
        ends: Any = None
        return Certificate(name, "", (), (), ends)

    actors = ["store-1", "store-11", "node-0"]
    assert using(actors, [certificate("store-11")]) == ["store-11"]
    assert using(actors, [certificate("node-0-server"), certificate("store-1")]) == [
        "store-1",
        "node-0",
    ]
    assert using(actors, [certificate("store-client"), certificate("kubeconfig")]) == []
