"""Who may ask for what: the Host rule and the Origin rule, before any side effect.

A page on the web must not be able to drive a program on this machine: neither by DNS rebinding
(the browser believes that evil.example is 127.0.0.1) nor by a cross-site request.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from core.errors import BadRequest, HostNotAllowed, OriginNotAllowed

if TYPE_CHECKING:
    from aiohttp import web

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""They never change anything, so a page of another origin may send them; it cannot read answers."""
APP_SCHEMES = frozenset({"app", "file", "tauri", "vscode-webview", "capacitor"})
"""Origins of desktop programs; they may use the models, as with Ollama."""
REMEMBERED = 512

_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]/@\\\s?#%]+)(?::(\d{1,5}))?")
_LOCAL = re.compile(r"[^.\[].*\.(?:localhost|local)")


def split_host(header: str | None) -> str | None:
    """The name in a Host header, lower case, without port and final dot; None if malformed."""
    match = _HOST.fullmatch(header or "")
    if match is None or int(match.group(2) or 0) > 65535:
        return None
    return match.group(1).lower().removesuffix(".") or None


def host_is_ours(name: str, own: frozenset[str]) -> bool:
    """Whether a name cannot have been rebound by a stranger.

    IP literals need no DNS; localhost and .local never leave the machine and its network; every
    other name must be declared.
    """
    try:
        address = ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return name == "localhost" or name in own or _LOCAL.fullmatch(name) is not None
    return name.startswith("[") == (address.version == 6)


class Access:
    """The two rules for one configuration; `update` puts another one in force."""

    def __init__(self, allowed_hosts: Iterable[str] = (), cors_origins: Iterable[str] = ()) -> None:
        self.update(allowed_hosts, cors_origins)

    def update(self, allowed_hosts: Iterable[str], cors_origins: Iterable[str]) -> None:
        declared = {split_host(host) or host.lower() for host in allowed_hosts}
        self._own = frozenset({socket.gethostname().lower(), *declared})
        self._origins = frozenset(origin.rstrip("/").lower() for origin in cors_origins)
        self._good_hosts: set[str] = set()

    def check(self, request: web.BaseRequest) -> None:
        """Raise unless the request may be served. Looks at headers only."""
        host = request.headers.get("Host")
        if host not in self._good_hosts:
            self._check_host(request, host)
        if not request.raw_path.startswith("/"):
            _check_authority(request, host or "")
        if request.method not in SAFE_METHODS:
            self._check_origin(request, host or "")

    def surely_allows(self, headers: Mapping[str, str]) -> bool:
        """True only where `check` would pass a request with these fields, whatever it asks for.

        For those who look at thousands of requests a second; False means nothing yet.
        """
        return (
            headers.get("Host") in self._good_hosts
            and "Origin" not in headers
            and "Sec-Fetch-Site" not in headers
        )

    def _check_host(self, request: web.BaseRequest, host: str | None) -> None:
        name = split_host(host)
        if name is None or not host_is_ours(name, self._own):
            raise HostNotAllowed(
                f"the name {host!r} is not known here: use an IP address or localhost, or add it "
                'to "allowed_hosts" in the "program" section of the config',
                param="Host",
            )
        if len(self._good_hosts) < REMEMBERED and host is not None:
            self._good_hosts.add(host)

    def _check_origin(self, request: web.BaseRequest, host: str) -> None:
        headers = request.headers
        origin = headers.get("Origin")
        site = headers.get("Sec-Fetch-Site")
        if origin is None and site is None:
            return  # not a browser
        if origin is not None and self.origin_allowed(origin, host, request.path):
            return
        if origin is None and site in ("same-origin", "none"):
            return
        raise OriginNotAllowed(
            f"a page from {origin or 'another site'!r} may not do this: if you trust it, add it "
            'to "cors_origins" in the "program" section of the config',
            param="Origin",
        )

    def origin_allowed(self, origin: str, host: str, path: str) -> bool:
        """Our own pages everywhere; declared origins everywhere; local programs for the models."""
        origin = origin.lower()
        if origin in (f"http://{host.lower()}", f"https://{host.lower()}"):
            return True
        if origin in self._origins:
            return True
        return path.startswith("/v1/") and _is_local_program(origin)

    def cors_headers(self, request: web.BaseRequest) -> tuple[tuple[str, str], ...]:
        """What lets an allowed page of another origin read the answer; nothing for a stranger."""
        origin = request.headers.get("Origin")
        if origin is None:
            return ()
        if not self.origin_allowed(origin, request.headers.get("Host", ""), request.path):
            return (("Vary", "Origin"),)
        return (("Access-Control-Allow-Origin", origin), ("Vary", "Origin"))


def is_plain_target(target: str) -> bool:
    """True only where `check_target` passes, and the target is a path and nothing else."""
    return _PLAIN_TARGET.fullmatch(target) is not None


def _check_authority(request: web.BaseRequest, host: str) -> None:
    """A target may name a host as well (as for a proxy), and that is the one that counts."""
    scheme, _, rest = request.raw_path.partition("://")
    authority = rest.partition("/")[0].lower()
    if request.raw_path != "*" and (scheme.lower() != "http" or authority != host.lower()):
        raise HostNotAllowed("the request is for another host than its Host header", param="Host")


def check_target(request: web.BaseRequest) -> None:
    """Refuse what could be read as one path here and as another by the server behind.

    Raises BadRequest for an absolute-form target, dot segments, slashes and backslashes (also
    encoded), NUL, and whatever does not belong into a target.
    """
    raw = request.raw_path
    if is_plain_target(raw):
        return
    path = raw.partition("?")[0]
    if not path.startswith("/"):
        raise BadRequest("only paths are accepted as the target of a request")
    if not _VISIBLE.fullmatch(raw) or _AMBIGUOUS.search(path):
        raise BadRequest("the path of the request is ambiguous")


_PLAIN_TARGET = re.compile(r"/[A-Za-z0-9_\-/]*")
_VISIBLE = re.compile(r"[!\"$-\[\]-~]*")
_AMBIGUOUS = re.compile(r"/(?:\.|%2e){1,2}(?:[/;]|%3b|$)|%2f|%5c|%00", re.IGNORECASE)


def _is_local_program(origin: str) -> bool:
    try:
        parts = urlsplit(origin)
        name = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme in APP_SCHEMES:
        return True
    return parts.scheme in ("http", "https") and name in ("localhost", "127.0.0.1", "::1")
