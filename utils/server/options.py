"""Options of the local page."""

import ipaddress
from dataclasses import dataclass
from typing import Annotated

from utils.errors import UserError


@dataclass(frozen=True)
class ServeOptions:
    """Whether and where the local page is served."""

    serve: Annotated[
        bool,
        "serve a page on which videos are uploaded, analysed and corrected; results go to "
        "--outputFolder (default: served)",
    ] = False
    port: Annotated[int, "port of the page; 0 chooses a free one"] = 8710
    host: Annotated[str, "address to listen on; other machines need the token"] = "127.0.0.1"
    token: Annotated[
        str, "secret in the page's address (default: random, if --host is not this machine alone)"
    ] = ""
    max_upload: Annotated[float, "largest accepted video, GB"] = 16.0

    def __post_init__(self) -> None:
        if not 0 <= self.port < 2**16:
            raise UserError(f"--port must be from 0 to 65535, got {self.port}")
        if not 0 < self.max_upload < float("inf"):
            raise UserError(f"--maxUpload must be more than 0 GB, got {self.max_upload}")
        if self.token and (len(self.token) < 16 or not self.token.isascii()):
            raise UserError("--token must have at least 16 characters, all of them ASCII")

    @property
    def max_bytes(self) -> int:
        """Size of the largest accepted video."""
        return int(self.max_upload * 1e9)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the page."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
