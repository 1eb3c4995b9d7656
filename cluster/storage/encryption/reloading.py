"""Follows the file of an EncryptionConfiguration: what it says comes into use by itself.

Order of a change of keys: the new key second everywhere, then first everywhere, then every object
written anew, then the old key gone. A file that cannot be used changes nothing.
"""

from __future__ import annotations

import logging
from pathlib import Path

from actors.seams import Seams
from cluster.storage.encryption import config
from cluster.storage.encryption.store import EncryptedStore

log = logging.getLogger(__name__)

INTERVAL_S = 10.0
GRACE_S = 10.0
"""How long what reads are under way may still use the old providers."""


class Reloading:
    """Of one store. `problem` is why the newest file is not in use, "" if it is."""

    def __init__(self, store: EncryptedStore, path: str, seams: Seams, interval_s: float) -> None:
        self._store, self._path, self._seams = store, path, seams
        self._interval_s = interval_s
        self._known = Path(path).read_bytes()
        self.problem = ""

    async def run(self) -> None:
        while True:
            await self._seams.clock.sleep(self._interval_s)
            await self._look()

    async def _look(self) -> None:
        try:
            text = Path(self._path).read_bytes()
            if text == self._known:
                self.problem = ""
                return
            rules = config.parse(text, self._path, self._seams)
        except (OSError, ValueError, LookupError, TypeError) as error:
            if str(error) != self.problem:
                log.error("the encryption configuration is not used: %s", error)
            self.problem = str(error)
            return
        await rules.start()
        self._known, self.problem = text, ""
        before, self._store.rules = self._store.rules, rules
        log.info("the encryption configuration has been read anew")
        if before.remote:
            try:
                await self._seams.clock.sleep(GRACE_S)
            finally:
                await before.stop()
