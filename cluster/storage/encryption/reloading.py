"""Follows the file of an EncryptionConfiguration: what it says comes into use by itself.

Order of a change of keys: the new key second everywhere, then first everywhere, then every object
written anew, then the old key gone. A file that cannot be used changes nothing.
"""

from __future__ import annotations

from actors.followed_file import FollowedFile
from actors.seams import Seams
from cluster.storage.encryption import config
from cluster.storage.encryption.store import EncryptedStore

GRACE_S = 10.0
"""How long what reads are under way may still use plugins that were left."""


def following(store: EncryptedStore, path: str, seams: Seams, interval_s: float) -> FollowedFile:
    """Of one store, whose rules are those of the file now."""

    async def use(text: bytes) -> None:
        rules = config.parse(text, path, seams)
        await rules.start()
        before, store.rules = store.rules, rules
        if before.remote:
            try:
                await seams.clock.sleep(GRACE_S)
            finally:
                await before.stop()

    return FollowedFile(path, seams.clock, use, interval_s)
