"""Tokens from a file: lines of token,user,uid and optionally "group,group" (CSV)."""

from __future__ import annotations

import csv
import hmac
from pathlib import Path

from cluster.apiserver.authn.user import Identified, User


class StaticTokens:
    """Read once, at the start of the server, as upstream does."""

    def __init__(self, path: str) -> None:
        """Raises ValueError for a line that is none."""
        self._users: dict[bytes, User] = {}
        with Path(path).open(newline="") as lines:
            for number, row in enumerate(csv.reader(lines, skipinitialspace=True), 1):
                if row and not row[0].startswith("#"):
                    self._users[row[0].encode()] = _user(row, f"{path}:{number}")

    async def check(self, token: str, audiences: tuple[str, ...]) -> Identified | None:
        given, found = token.encode(), None
        for known, user in self._users.items():  # all of them: the time tells nothing
            if hmac.compare_digest(known, given):
                found = user
        return None if found is None else Identified(found)


def _user(row: list[str], where: str) -> User:
    if len(row) < 3 or not all(row[:2]):
        raise ValueError(f"{where}: a line must have a token, a user name and a uid")
    groups = [group.strip() for group in row[3].split(",")] if len(row) > 3 else []
    return User(row[1], tuple(g for g in groups if g), row[2])
