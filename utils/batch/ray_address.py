"""Addresses of Ray clusters: whether one answers, and the token that it asks for."""

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from utils.errors import ResourceError, UserError

CLIENT_SCHEME, CLIENT_PORT = "ray", 10001  # of Ray's client, which needs no port in its address
CONNECT_S = 5.0
ANSWER_S = 20.0  # a busy machine may need some seconds to answer
# The head of a cluster speaks gRPC, so HTTP/2: both sides begin with a frame of settings.
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
FRAME_HEAD, SETTINGS = 9, 4  # bytes of a frame before its content; its type, the fourth of them
TOKEN_FILE = Path(".ray/auth_token")  # below the home folder; Ray makes it for --ray local
TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
ADVICE = "start one with ray start --head, or use --ray local"


def use_token() -> None:
    """Let Ray use the token of this machine, if there is one; call it before Ray is imported.

    ray start does so by itself, but not a program that is given the address of a cluster.
    """
    known = any(os.environ.get(name) for name in TOKEN_VARIABLES)
    if known or (Path.home() / TOKEN_FILE).is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def check_cluster(address: str) -> None:
    """Connect to the head of a cluster and hear whether it speaks as one does.

    Ray itself tries a wrong address for minutes.

    Args:
        address: HOST:PORT, ray://HOST:PORT, or auto: the cluster that Ray would choose.

    Raises:
        UserError: The address has another form.
        ResourceError: Nothing answers there, or something else does.
    """
    place, source = address, ""
    if address == "auto":
        place, source = _automatic()
        if not place:
            return  # Ray looks at the processes of this machine, which is quick
    host, port = _split(place)
    found = _fault(host, port)
    if found:
        raise ResourceError(
            f"--ray {address}: expected a running Ray cluster at {host}:{port}{source}, found: "
            f"{found}; {ADVICE}"
        )


def _automatic() -> tuple[str, str]:
    """Return the address that `auto` stands for, empty if Ray must look for it, and its source."""
    given = os.environ.get("RAY_ADDRESS", "")
    if given:
        return ("" if given == "auto" else given), " (RAY_ADDRESS)"
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    path = Path(folder) / "ray" / "ray_current_cluster"  # written by ray start
    try:
        return path.read_text(encoding="utf-8").strip(), f" ({path})"
    except FileNotFoundError:
        return "", ""


def _split(address: str) -> tuple[str, int]:
    """Return host and port of an address."""
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    else:
        if parts.scheme == CLIENT_SCHEME:
            port = port or CLIENT_PORT
        elif parts.scheme:
            host = None
    if not host or not port:
        raise UserError(f"--ray: expected local, auto or HOST:PORT of a cluster, found {address}")
    return host, port


def _fault(host: str, port: int) -> str:
    """Return why no cluster answers; empty if one does."""
    try:
        with socket.create_connection((host, port), timeout=CONNECT_S) as connection:
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
                return ""  # encrypted; Ray itself finds out what is there
            connection.settimeout(ANSWER_S)
            connection.sendall(HELLO)
            head = connection.recv(FRAME_HEAD, socket.MSG_WAITALL)
    except TimeoutError:
        return "no answer"
    except OSError as error:
        return error.strerror or str(error)
    return "" if len(head) == FRAME_HEAD and head[3] == SETTINGS else "another program"
