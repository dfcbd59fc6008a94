"""The ports that a server listens on."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from visrec_serving.errors import ServerFailed


@contextlib.contextmanager
def reserved(addresses: dict[str, str], wanted: dict[str, int]) -> Iterator[dict[str, int]]:
    """Check that ports are free, pick free ones where any will do, and hold them inside `with`.

    A held port is given to nobody who asks the kernel for any port, whereas a process that names it, and
    sets SO_REUSEADDR as Triton does, may listen on it (socket(7)).

    Args:
        addresses: IPv4 address to listen on, by purpose.
        wanted: port by purpose, as its command-line flag calls it (`grpc`); 0 for any.

    Yields:
        Port by purpose, all different.

    Raises:
        ServerFailed: if a port is in use or may not be listened on.
    """
    found = {}
    with contextlib.ExitStack() as held:
        # Fixed ports first: a picked one must not take them.
        for purpose, port in sorted(wanted.items(), key=lambda item: item[1] == 0):
            address = addresses[purpose]
            holder = held.enter_context(socket.socket())
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                holder.bind((address, port))
            except OSError as error:
                raise ServerFailed(
                    f"can't listen on {address}:{port}: {(error.strerror or str(error)).lower()}; "
                    f"stop what uses it or choose another port with --{purpose}-port"
                ) from error
            found[purpose] = holder.getsockname()[1]
        yield found
