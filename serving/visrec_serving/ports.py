"""The ports that a server listens on."""

from __future__ import annotations

import contextlib
import socket

from visrec_serving.errors import ServerFailed


def reserve(addresses: dict[str, str], wanted: dict[str, int]) -> dict[str, int]:
    """Check that ports are free, and pick free ones where any will do.

    Args:
        addresses: IPv4 address to listen on, by purpose.
        wanted: port by purpose, as its command-line flag calls it (`grpc`); 0 for any.

    Returns:
        Port by purpose, all different and free a moment ago.

    Raises:
        ServerFailed: if a port is in use or may not be listened on.
    """
    ports = {}
    with contextlib.ExitStack() as held:
        # Fixed ports first: a picked one must not take them.
        for purpose, port in sorted(wanted.items(), key=lambda item: item[1] == 0):
            address = addresses[purpose]
            listener = held.enter_context(socket.socket())
            # as Triton does; otherwise connections of a server that has just ended keep its ports
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((address, port))
                listener.listen()
            except OSError as error:
                raise ServerFailed(
                    f"can't listen on {address}:{port}: {(error.strerror or str(error)).lower()}; "
                    f"stop what uses it or choose another port with --{purpose}-port"
                ) from error
            ports[purpose] = listener.getsockname()[1]
    return ports
