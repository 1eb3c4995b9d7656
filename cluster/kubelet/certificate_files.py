"""Where a kubelet keeps certificates that it has been given: one file each, replaced as a whole.

The certificates that a node was started with are in files of their own, which whoever starts it
writes anew: of the two, the one that is valid for longer is used.
"""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass

from cryptography import x509


@dataclass(frozen=True)
class Pair:
    """Files of a certificate and its key (maybe the same one), and the times between which it is
    valid, in seconds since the epoch."""

    cert: str
    key: str
    begins_s: float
    ends_s: float


def read(cert: str, key: str) -> Pair:
    """Raises OSError, or ValueError for what is no certificate."""
    with open(cert, "rb") as file:
        found = x509.load_pem_x509_certificate(file.read())
    begins, ends = found.not_valid_before_utc, found.not_valid_after_utc
    return Pair(cert, key, _seconds(begins), _seconds(ends))


def _seconds(when: datetime.datetime) -> float:
    return when.timestamp()


class CertificateFile:
    """FOLDER/NAME.pem beside the files that were there at the start."""

    def __init__(self, folder: str, name: str, first_cert: str, first_key: str) -> None:
        self._folder, self._path = folder, os.path.join(folder, f"{name}.pem")
        self._first = (first_cert, first_key)

    def current(self) -> Pair:
        """The one to use. Raises OSError and ValueError if not even the first can be read."""
        first = read(*self._first)
        try:
            own = read(self._path, self._path)
        except (OSError, ValueError):
            return first
        return own if own.ends_s > first.ends_s else first

    def save(self, cert: bytes, key: bytes) -> Pair:
        """Raises ValueError, and keeps what is there, for what is no certificate."""
        x509.load_pem_x509_certificate(cert)
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        new = f"{self._path}.new"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(cert + key)
            file.flush()
            os.fsync(file.fileno())
        os.rename(new, self._path)
        return read(self._path, self._path)
