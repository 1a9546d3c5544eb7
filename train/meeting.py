"""Where the workers of a training wait for each other, before TensorFlow does.

TensorFlow waits minutes for workers that may never come, and is deaf to Ctrl-C and SIGTERM meanwhile; this wait isn't.
The first worker listens at its own address, which TensorFlow takes over, until each of the others holds a connection.
"""

from __future__ import annotations

import selectors
import socket
import time

from edgecnn.errors import InputError
from edgecnn.terminal import say

_RETRY = 0.5
"""Seconds between two attempts to reach the first worker."""

_TELL = 20
"""Attempts after which it is told why the first worker can't be reached."""

_COME, _GO = b"edgecnn worker %d of %d\n", b"go\n"


def meet(address: str, worker: int, workers: int) -> None:
    """Return when all workers are there.

    Args:
        address: of the first worker, host:port.
        worker: the number of this one, from 0.
        workers: how many there are.

    Raises:
        InputError: this is no address, or the first worker can't listen there.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) >= 2**16:
        raise InputError(f"$TF_CONFIG: a worker's address is host:port, got {address!r}")
    if worker == 0:
        _gather(int(port), workers)
    else:
        _join(host.strip("[]"), int(port), worker, workers)


def _gather(port: int, workers: int) -> None:
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        server = socket.create_server(("", port), family=family, dualstack_ipv6=both)
    except OSError as e:
        raise InputError(f"$TF_CONFIG: worker 0 can't listen at its port {port}: {e.strerror or e}") from None
    expected = {_COME % (number, workers): number for number in range(1, workers)}
    present: dict[socket.socket, int | None] = {}
    with server, selectors.DefaultSelector() as selector:
        selector.register(server, selectors.EVENT_READ)
        while set(expected.values()) - set(present.values()):
            for key, _ in selector.select():
                if key.fileobj is server:
                    peer, _ = server.accept()
                    selector.register(peer, selectors.EVENT_READ)
                    present[peer] = None
                    continue
                peer = key.fileobj
                present[peer] = expected.get(_receive(peer))
                if present[peer] is None:  # it ended, or is no worker of this training
                    selector.unregister(peer)
                    del present[peer]
                    peer.close()
    for peer in present:
        with peer:
            try:
                peer.sendall(_GO)
            except OSError:
                continue  # it ended just now, which TensorFlow finds out


def _join(host: str, port: int, worker: int, workers: int) -> None:
    attempt = 0
    while True:
        attempt += 1
        try:
            with socket.create_connection((host, port)) as first:
                first.sendall(_COME % (worker, workers))
                if _receive(first) == _GO:
                    return
                reason = "it closed the connection; does its $TF_CONFIG name the same workers?"
        except OSError as e:
            reason = e.strerror or str(e)
        if attempt == _TELL:
            say(f"worker {worker} of {workers}: can't reach worker 0 at {host}:{port} so far: {reason}")
        time.sleep(_RETRY)


def _receive(peer: socket.socket) -> bytes:
    """One short message; empty where the connection was closed."""
    try:
        return peer.recv(64)
    except OSError:
        return b""
