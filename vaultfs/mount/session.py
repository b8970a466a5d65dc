"""One mount from beginning to end: mounts, serves requests beside the background tasks, and closes the vault."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import pyfuse3
import trio

from vaultfs.errors import FilesystemError, FuseUnavailable, VaultfsError
from vaultfs.mount import session_loop
from vaultfs.mount.allocator import keep_freed_memory
from vaultfs.mount.checkpointer import Checkpointer
from vaultfs.mount.ending import Ending
from vaultfs.mount.mounttable import mount_at
from vaultfs.mount.notify import notify
from vaultfs.mount.operations import PlainOperations, VaultOperations
from vaultfs.mount.options import MountOptions, libfuse_options
from vaultfs.mount.readahead import raise_read_ahead
from vaultfs.mount.runner import Runner
from vaultfs.mount.workers import Workers
from vaultfs.vault.collection import collect_rarely
from vaultfs.vault.vault import Vault

_log = logging.getLogger("vaultfs.mount")

# Seconds a thread may keep the GIL another one waits for: at Python's 5 ms a busy worker would add that to a request.
_SWITCH_INTERVAL = 0.0001
# Threads for what is waited for, and for what is only read ahead: that must not stand in the way.
_WORKERS, _GUESSERS = 16, 4
# pyfuse3 keeps this many idle tasks, so that a burst of requests finds them ready.
_IDLE_TASKS = 8


def serve(vault: Vault, mountpoint: str, options: MountOptions, on_ready: Callable[[], None]) -> None:
    """Serve the vault at an absolute path until it is unmounted, then close it.

    `on_ready` is called once, when the mount answers. A signal (TERM, INT, HUP), an outside unmount and being idle
    all end it. The vault is closed whatever happens. Raises FuseUnavailable if it cannot be mounted.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL)
    collect_rarely()
    keep_freed_memory()
    with _signals_ignored():
        try:
            _serve(vault, mountpoint, options, on_ready)
        finally:
            notify("STOPPING=1")
            vault.close()


def _serve(vault: Vault, mountpoint: str, options: MountOptions, on_ready: Callable[[], None]) -> None:
    workers, guessers = Workers(_WORKERS), Workers(_GUESSERS)
    checkpointer = Checkpointer(vault, workers)
    kind = PlainOperations if options.noxattr else VaultOperations
    operations = kind(vault, Runner(workers, checkpointer), guessers)
    if session_loop.install(lambda: workers.have_ended_some, partial(_between_requests, vault)):
        vault.hold_changes()
    _mount(operations, mountpoint, options)
    ending = Ending(operations, workers, mountpoint)
    try:
        trio.run(_run, checkpointer, ending, mountpoint, options, on_ready)
    except* OSError as failures:
        raise VaultfsError(f"the connection to the kernel failed: {failures.exceptions[0]}") from failures
    finally:
        workers.close()
        guessers.close()
        pyfuse3.close(unmount=not ending.detached)


def _mount(operations: VaultOperations, mountpoint: str, options: MountOptions) -> None:
    try:
        pyfuse3.init(operations, mountpoint, libfuse_options(options))
    except RuntimeError as error:
        raise FuseUnavailable(f"{mountpoint} could not be mounted (see the message above): {error}") from error


def _between_requests(vault: Vault) -> None:
    try:
        # What cannot be written stays where it is, in memory; the next change or sync hears of it.
        with suppress(FilesystemError):
            vault.write_out()
        vault.evict()
    except Exception:
        # It would end the session, with all that programs have not saved yet.
        if not vault.read_only:
            _log.exception("what waits in memory could not be written")
            vault.give_up("what waits in memory could not be written")


async def _run(
    checkpointer: Checkpointer, ending: Ending, mountpoint: str, options: MountOptions, on_ready: Callable[[], None]
) -> None:
    async with trio.open_nursery() as background:
        background.start_soon(checkpointer.watch)
        background.start_soon(ending.watch_signals)
        if options.idle_seconds is not None:
            background.start_soon(ending.watch_idle, options.idle_seconds)
        background.start_soon(_announce, ending, mountpoint, on_ready)
        await pyfuse3.main(min_tasks=_IDLE_TASKS)
        background.cancel_scope.cancel()


async def _announce(ending: Ending, mountpoint: str, on_ready: Callable[[], None]) -> None:
    await trio.to_thread.run_sync(os.statvfs, mountpoint, abandon_on_cancel=True)
    if (mount := mount_at(mountpoint)) is not None:
        ending.device = mount.device
        raise_read_ahead(mount.device)  # not before the kernel has had its answer to INIT, which sets it too
    on_ready()
    notify("READY=1")


@contextmanager
def _signals_ignored() -> Iterator[None]:
    """What asks the process to end is heard by the session; while the vault is closed, nothing may cut that short."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
