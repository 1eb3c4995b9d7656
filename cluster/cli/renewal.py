"""`raykube certificates`: how long the cluster's certificates are valid, and new ones in time.

The authority's key is in the cluster's folder. New certificates are for the same names and users;
who uses them is started again, one component after another, so that the cluster goes on meanwhile.
Kubelets renew theirs by themselves; what a node was started with is renewed here.
"""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from cryptography import x509
from cryptography.x509.oid import NameOID

from actors import control, discovery
from actors.errors import ActorError
from actors.group import KEPT
from cluster.cli import clusters, kubeconfig
from cluster.cli.errors import NOT_READY, CommandError
from cluster.cli.progress import Progress
from cluster.compose import Shape
from cluster.pki import Authority, KeyPair

ADMIN = "kubeconfig"
WAIT_S = 60.0


def show(name: str) -> None:
    """Raises CommandError."""
    now = datetime.datetime.now(datetime.UTC)
    for each in sorted(found(clusters.load(name)), key=lambda one: one.ends):
        days = (each.ends - now).days
        click.echo(f"{each.ends:%Y-%m-%d}  {days:>5} days  {each.user:<36} {each.name}")


def renew(name: str, within_days: int, everything: bool, quiet: bool) -> None:
    """Raises CommandError."""
    shape, progress = clusters.load(name), Progress(quiet=quiet)
    limit = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=within_days)
    due = [each for each in found(shape) if everything or each.ends <= limit]
    if not due:
        progress.say(f"No certificate ends within {within_days} days.")
        return
    authority = _authority(shape)
    with progress.step(f"Renewing {len(due)} certificates"):
        for each in due:
            _renew(shape, authority, each)
    for actor in using(_actors(shape), due):
        with progress.step(f"Starting {actor} again"):
            _restart(shape, actor)


@dataclass(frozen=True)
class Certificate:
    """`name`: of its files in pki/ without their ending, or `kubeconfig`; `names`: of a server."""

    name: str
    user: str
    groups: tuple[str, ...]
    names: tuple[str, ...]
    ends: datetime.datetime


def found(shape: Shape) -> list[Certificate]:
    """What the cluster's authority has issued: not authorities, nor what others have issued."""
    authority = x509.load_pem_x509_certificate(Path(shape.path("pki", "ca.crt")).read_bytes())
    texts = {p.stem: p.read_bytes() for p in sorted(Path(shape.path("pki")).glob("*.crt"))}
    listed = [_read(name, pem) for name, pem in texts.items() if _is_issued(pem, authority)]
    admin = kubeconfig.certificate_of(Path(shape.path("kubeconfig")))
    return [*listed, _read(ADMIN, admin)]


def _is_issued(pem: bytes, authority: x509.Certificate) -> bool:
    found = x509.load_pem_x509_certificate(pem)
    return found.issuer == authority.subject and found.subject != authority.subject


def _read(name: str, pem: bytes) -> Certificate:
    cert = x509.load_pem_x509_certificate(pem)
    users = cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    groups = cert.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    try:
        extension = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = tuple(str(each.value) for each in extension.value)
    except x509.ExtensionNotFound:
        names = ()
    return Certificate(
        name,
        str(users[0].value),
        tuple(str(group.value) for group in groups),
        names,
        cert.not_valid_after_utc,
    )


def _authority(shape: Shape) -> Authority:
    try:
        parts = [Path(shape.path("pki", part)).read_bytes() for part in ("ca.crt", "ca.key")]
    except FileNotFoundError as error:
        hint = "run this on the machine of a controller manager"
        raise CommandError(
            f"the authority's key is not here: {error.filename}", hint=hint
        ) from None
    return Authority(KeyPair(*parts))


def _renew(shape: Shape, authority: Authority, old: Certificate) -> None:
    pair = authority.issue(old.user, old.groups, names=old.names)
    if old.name == ADMIN:
        _renew_admin(shape, authority, pair)
        return
    for ending, content in ((".key", pair.key), (".crt", pair.certificate)):
        path = shape.path("pki", old.name + ending)
        Path(path + KEPT).touch()  # the supervisor has the old one, and leaves this one alone
        descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(f"{path}.new", path)


def _renew_admin(shape: Shape, authority: Authority, pair: KeyPair) -> None:
    """In the cluster's folder, and wherever `raykube up` has written it."""
    own = Path(shape.path("kubeconfig"))
    config = kubeconfig.build(
        shape.name, kubeconfig.server_of(own), authority.pair.certificate, pair
    )
    kubeconfig.write(own, config)
    noted = Path(shape.path("kubeconfig-path"))
    if noted.exists() and Path(noted.read_text()).exists():
        kubeconfig.merge(Path(noted.read_text()), config)


def _actors(shape: Shape) -> list[str]:
    return Path(shape.path("actors")).read_text().split("\n")


def using(actors: Sequence[str], due: Sequence[Certificate]) -> list[str]:
    """The actors whose certificates these are, in their order; files begin with their names."""
    names = [each.name for each in due]
    return [a for a in actors if any(n == a or n.startswith(f"{a}-") for n in names)]


def _restart(shape: Shape, actor: str) -> None:
    """End one component, and wait until it is ready again. Raises CommandError."""
    before = discovery.read(shape.folder).get(actor, {}).get("pid")
    try:
        control.call(shape.folder, {"verb": "kill", "name": actor, "hold_s": 0.0})
    except ActorError as error:
        hint = f"see `raykube status --name {shape.name}`"
        raise CommandError(str(error), hint=hint) from error
    deadline = time.monotonic() + WAIT_S
    while True:
        entry = discovery.read(shape.folder).get(actor, {})
        if entry.get("ready") and entry.get("pid") not in (None, before):
            return
        if time.monotonic() > deadline:
            raise CommandError(
                f"{actor} is not ready after {WAIT_S:g} s", hint=f"raykube logs {actor}",
                code=NOT_READY,
            )  # fmt: skip
        time.sleep(0.05)
