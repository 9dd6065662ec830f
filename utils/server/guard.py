"""Guards the local page: who may ask, and what answers may do in a browser."""

import ipaddress
import secrets
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "talknet_token"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,  # unless an answer has its own
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Guard:
    """Passes requests on that come from the page itself, or from a program of the user.

    A page of another site can neither ask directly, for its Origin is foreign, nor by a domain name
    that it points to this machine, for that name is in Host.
    """

    app: ASGIApp
    host: str  # that the server listens on
    token: str = ""  # empty: none is needed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer: ASGIApp = self._refusal(Request(scope)) or self.app
        await answer(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        """Return the answer to a request that is not passed on."""
        if not self._is_own_host(request.headers):
            return PlainTextResponse("this server has another name", 421)
        if not _is_own_origin(request):
            return PlainTextResponse("only the page itself may ask", 403)
        if not self.token:
            return None
        given = request.query_params.get("token", "")
        if given and self._fits(given):
            answer = RedirectResponse(request.url.path, 303)
            answer.set_cookie(COOKIE, given, httponly=True, samesite="strict", max_age=30 * 86400)
            return answer
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._fits(bearer) or self._fits(request.cookies.get(COOKIE, "")):
            return None
        return PlainTextResponse("open the address with ?token=… that the server printed", 401)

    def _fits(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self.token.encode())

    def _is_own_host(self, headers: Headers) -> bool:
        """Tell whether Host is an address, or a name that is known to be this machine's."""
        try:
            name = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        except ValueError:
            return False
        if name in ("localhost", self.host.lower()):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return bool(self.token) and name == socket.gethostname().lower()
        return True


def _is_own_origin(request: Request) -> bool:
    """Tell whether a request comes from the page itself; programs send no Origin."""
    site = request.headers.get("sec-fetch-site", "none")
    origin = request.headers.get("origin")
    if origin is not None:
        parts = urlsplit(origin)
        own = parts.scheme in ("http", "https") and parts.netloc == request.headers.get("host")
        return own and site in ("none", "same-origin")
    # A link from elsewhere may open the list, and nothing else.
    opens = request.method == "GET" and request.url.path == "/"
    return site in ("none", "same-origin") or opens
