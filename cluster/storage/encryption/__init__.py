"""Values that stand encrypted in the store, as an EncryptionConfiguration says (upstream's form).

Belongs here: ciphers, which key suits which value, and the store that hides both. Nothing else
of the server knows about it.
"""

from cluster.storage.encryption.config import load
from cluster.storage.encryption.reloading import following
from cluster.storage.encryption.store import EncryptedStore, Stale

__all__ = ["EncryptedStore", "Stale", "following", "load"]
