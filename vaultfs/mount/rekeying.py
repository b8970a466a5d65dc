"""Changes the master key of a mounted vault: takes the new one over, and carries that through beside the requests.

It is asked for through the mount itself, like settling: by setting the attribute `REKEY` of its top directory to the
new master key, once the header in the store has that key, and in it the one before. So whoever asks has opened the
vault with a key that was in force. The answer comes when it is done; how far it is tells the attribute's value.
"""

import errno
import json
import logging
import os

import pyfuse3
import trio

from vaultfs.check.rekeying import Rekeying, Step, Who
from vaultfs.errors import OpenError, VaultfsError
from vaultfs.format.constants import ROOT_ID
from vaultfs.keys.header import keys_of
from vaultfs.keys.headerfile import load
from vaultfs.keys.hierarchy import VaultKeys
from vaultfs.mount.runner import Runner
from vaultfs.vault.vault import Vault

_log = logging.getLogger("vaultfs.mount")

REKEY = b"user.vaultfs.rekey"

_MASTER_SIZE = 32


class Rekeyer:
    """One per mount."""

    def __init__(self, vault: Vault, runner: Runner) -> None:
        self._vault = vault
        self._runner = runner
        self._one_at_a_time = trio.Lock()
        self._progress: tuple[str, int, int] = ("", 0, 0)

    def progress(self) -> bytes:
        """What is being done, how much of it is, and of how much, as JSON; an empty text while there is nothing."""
        return json.dumps(self._progress).encode()

    async def rekey(self, master: bytes) -> None:
        """Return when nothing is left under the key before; at once for an empty `master`, which asks for nothing.

        With the header that has no previous key any more: when the roots have taken that over. Raises FUSEError:
        EPERM if the keys are not this vault's next ones; what the steps raise.
        """
        if not master:
            return
        async with self._one_at_a_time:
            keys = await self._runner.workers.run(self._keys_in_force, master)
            if keys.previous is None:
                await self._take_header_over(keys)
                return
            if not (self._vault.keys.is_same(keys) or self._vault.keys.is_same(keys.previous)):
                raise pyfuse3.FUSEError(errno.EPERM)
            while not await self._runner.run(self._vault.change_keys, keys):
                await self._runner.checkpointer.checkpoint()
            try:
                for step in Rekeying(self._vault, self._note).steps():
                    await self._carry_out(step)
            except (VaultfsError, OSError) as error:
                _log.error("the change of the master key stopped, and is to be gone on with: %s", error)
                raise
            finally:
                self._progress = ("", 0, 0)

    def _keys_in_force(self, master: bytes) -> VaultKeys:
        if len(master) != _MASTER_SIZE:
            raise pyfuse3.FUSEError(errno.EINVAL)
        try:
            return keys_of(load(self._vault.store).raw, master)
        except OpenError as error:
            raise pyfuse3.FUSEError(errno.EPERM) from error

    async def _take_header_over(self, keys: VaultKeys) -> None:
        if not self._vault.keys.is_same(keys):
            raise pyfuse3.FUSEError(errno.EPERM)
        await self._runner.change(self._vault.renew_directory, ROOT_ID, ())
        while self._vault.renewal_waits():
            await self._runner.checkpointer.checkpoint()

    async def _carry_out(self, step: Step) -> None:
        if step.who is Who.CHECKPOINT:
            await self._runner.checkpointer.checkpoint()
            self._vault.evict()
        elif step.who is Who.OWNER:
            await self._runner.change(step.run)
        else:
            await self._runner.workers.run(step.run)

    def _note(self, what: str, done: int, total: int) -> None:
        self._progress = what, done, total


def can_rekey(mountpoint: str) -> bool:
    """Whether the process behind a mount knows of changes of the master key, and this one may ask for them."""
    try:
        os.getxattr(mountpoint, REKEY)
        return True
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            return False
    try:
        os.setxattr(mountpoint, REKEY, b"")  # a mount without extended attributes takes this one all the same
    except OSError:
        return False
    return True


def rekey(mountpoint: str, master: bytes) -> None:
    """Have the vault that is mounted at an absolute path go over to its new master key. Raises OSError."""
    os.setxattr(mountpoint, REKEY, master)


def progress_of(mountpoint: str) -> tuple[str, int, int]:
    """How far it is: what is being done, how much of it is, and of how much; an empty text if that is not known."""
    try:
        what, done, total = json.loads(os.getxattr(mountpoint, REKEY))
    except (OSError, ValueError):
        return "", 0, 0
    return str(what), int(done), int(total)
