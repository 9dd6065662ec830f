"""The HTTP server of the local page."""

import socket
from threading import Event

import uvicorn

from utils.errors import ResourceError
from utils.server.guard import Guard

EVERYWHERE = ("0.0.0.0", "::")  # all addresses of this machine
FINISH_S = 1  # that requests are given to end when the server stops


class PageServer(uvicorn.Server):
    """Ends the streams of events first when it stops; it would wait for them in vain."""

    def __init__(self, app: Guard, stopping: Event) -> None:
        """Prepare a server; `stopping` is set when it stops."""
        config = uvicorn.Config(
            app, log_level="warning", timeout_graceful_shutdown=FINISH_S, lifespan="on"
        )
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening and answering."""
        self._stopping.set()
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResourceError(
            f"{host}:{port} cannot be used: {reason}; choose another --port or --host"
        ) from None


def page_address(host: str, port: int, token: str) -> str:
    """Return what to open in a browser; by this machine's name if it listens on all addresses."""
    if host in EVERYWHERE:
        host = socket.gethostname()
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{port}/" + (f"?token={token}" if token else "")
