"""`vaultfs key tune STORE`: make each guess at a password cost what this machine can afford today."""

import argparse

from vaultfs.cli import kdfoptions, keychanges
from vaultfs.cli.output import Output

SUMMARY = "Raise the cost of guessing a key to what takes about a second here."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `key tune`."""
    keychanges.add_arguments(parser)
    kdfoptions.add_arguments(parser)


def run(args: argparse.Namespace, out: Output) -> None:
    """Wrap the master key anew for the key that was given, at other costs; the password stays."""
    from vaultfs.crypto.calibration import calibrate, is_weak, seconds_of
    from vaultfs.keys.slotchanges import replace_slot
    from vaultfs.keys.slots import make_slot

    asked = kdfoptions.chosen(args)
    opened = keychanges.open_keys(args, out)
    unlocked, slot = opened.unlocked, opened.unlocked.slot
    with out.working("Measuring"):
        kdf = asked or calibrate()
        seconds = seconds_of(kdf)
        enough = asked is None and not is_weak(slot.kdf) and seconds_of(slot.kdf) >= 0.8 * seconds
    if enough:
        out.say(f"The key is costly enough as it is: {kdfoptions.described(slot.kdf)}.")
        return
    header = unlocked.header
    changed = make_slot(
        opened.secret, unlocked.master, header.vault_id, kdf=kdf, kind=slot.type, label=slot.label
    )
    keychanges.put_in_force(opened, replace_slot(header, slot.id, changed), out)
    out.say(f"A guess at this key now takes {seconds:.1f} s here: {kdfoptions.described(kdf)}.")
