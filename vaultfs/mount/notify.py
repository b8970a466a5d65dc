"""Tells systemd how far the service is (sd_notify(3)), if it asked to be told."""

import os
import socket


def notify(state: str) -> None:
    """Send `READY=1`, `STOPPING=1`, … to $NOTIFY_SOCKET; nothing happens if there is none, or nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.connect(address.replace("@", "\0", 1) if address[0] == "@" else address)
            sender.sendall(state.encode("ascii"))
    except OSError:
        return
