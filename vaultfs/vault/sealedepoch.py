"""Tells which header epoch a vault's roots know, so that an older header is not taken up by a change of keys."""

from vaultfs.errors import RollbackRefused
from vaultfs.keys.hierarchy import VaultKeys
from vaultfs.sealing.context import SealingContext
from vaultfs.store.api import Store
from vaultfs.store.handles import HandleCache
from vaultfs.vault.objects import Objects
from vaultfs.vault.roots import RootSlots


def sealed_epoch(store: Store, keys: VaultKeys, chunk_size: int) -> int:
    """The header epoch in the newest root that verifies; 0 if none does. Changes nothing; raises OSError."""
    handles = HandleCache(store, 2)
    try:
        found = RootSlots(Objects(store, handles, SealingContext(keys, chunk_size))).read()
    finally:
        handles.close()
    return max((sealed.root.epoch for sealed in found), default=0)


def refuse_older_header(epoch: int, sealed: int) -> None:
    """RollbackRefused for a header that is older than the one the vault last knew."""
    if epoch < sealed:
        raise RollbackRefused(
            f"The header is older (epoch {epoch}) than the vault has known ({sealed}): keys removed since may "
            "still open it, and newer ones do not. `vaultfs key rebuild` puts back the newer one if the roots have it; "
            "give --accept-rollback if the older one is meant."
        )
