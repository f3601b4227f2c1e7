"""Who may ask for what: tables of Host and Origin, and paths with one reading only."""

from __future__ import annotations

import ipaddress
import random
import socket
from contextlib import suppress
from typing import cast
from urllib.parse import unquote

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from core.access import Access, check_target, host_is_ours, is_plain_target, split_host
from core.errors import BadRequest, HostNotAllowed, LLMManagerError, OriginNotAllowed

HOSTS = {
    "127.0.0.1:8080": True,
    "localhost:8080": True,
    "LOCALHOST": True,
    "localhost.": True,
    "[::1]:8080": True,
    "[fe80::1]": True,
    "192.168.1.5:8080": True,
    "0.0.0.0:8080": True,
    "mypc:8080": True,
    "MyPC": True,
    "mypc.local": True,
    "a.localhost": True,
    "llm.example.org:443": True,
    "evil.example:8080": False,
    "127.0.0.1.nip.io": False,
    "localhost.evil.com": False,
    "127.evil.com": False,
    "evil.com#localhost": False,
    "a@localhost": False,
    "127.0.0.1@evil.com": False,
    "localhost:8080@evil": False,
    "0x7f.1": False,
    "2130706433": False,
    "127.1": False,
    "127.0.0.1%evil.com": False,
    "１２７.0.0.1": False,
    "": False,
    None: False,
    "local": False,
    ".local": False,
    ".localhost": False,
    "evillocal": False,
    "x.localhost.evil": False,
    "localhost/..": False,
    "localhost..": False,
    "::1": False,
    "[::1": False,
    "[127.0.0.1]": False,
    "[localhost]": False,
    "localhost:99999999": False,
    "localhost:70000": False,
    "localhost:": False,
    "localhost,evil.com": False,
    "a b": False,
    "xn--lcalhost-54a": False,
    "service.internal": False,
    "llm.example.org.evil.com": False,
}
ACCESS = Access(["mypc", "llm.example.org:8443"], ["https://ui.example.org/"])
OWN = frozenset({"mypc", "llm.example.org"})


class Asked:
    """What the rules look at of a request."""

    def __init__(self, method: str, path: str, headers: CIMultiDict[str]) -> None:
        self.method = method
        self.path = self.raw_path = path
        self.headers = headers


def request(method: str = "GET", path: str = "/api/models", **fields: str | None) -> web.Request:
    """`host` is localhost:8080 unless given; `None` leaves a field out."""
    given = {"host": "localhost:8080", **fields}
    headers = CIMultiDict({k.replace("_", "-"): v for k, v in given.items() if v is not None})
    return cast(web.Request, Asked(method, path, headers))


# ---- Host --------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", ["/", "/api/models", "/v1/chat/completions"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_host_table(host: str | None, path: str, method: str) -> None:
    asked = request(method, path, host=host)
    for _ in range(2):  # a host that was found good is remembered, a bad one never
        if HOSTS[host]:
            ACCESS.check(asked)
        else:
            with pytest.raises(HostNotAllowed) as caught:
                ACCESS.check(asked)
            assert caught.value.status == 403
            assert "allowed_hosts" in caught.value.message


LABELS = st.lists(
    st.one_of(
        st.sampled_from(["127", "0", "1", "localhost", "local", "mypc", "evil", "0x7f", "::1"]),
        st.text(max_size=6),
    ),
    max_size=6,
)


@pytest.mark.timeout(180)
@settings(max_examples=500, deadline=None)
@given(LABELS, st.sampled_from([".", "-", ":", "", "%", "@"]))
def test_only_addresses_and_known_names_pass(labels: list[str], joint: str) -> None:
    host = joint.join(labels)
    name = split_host(host)
    if name is None or not host_is_ours(name, OWN):
        return
    known = name in OWN or name.split(".")[-1] in ("localhost", "local")
    if not known:
        ipaddress.ip_address(name.strip("[]"))


def test_this_machine_s_own_name_is_known() -> None:
    Access().check(request(host=f"{socket.gethostname()}:8080"))


def test_a_new_config_is_in_force_at_once() -> None:
    access = Access(["old.example"])
    access.check(request(host="old.example"))
    access.update(["new.example"], [])
    access.check(request(host="new.example"))
    with pytest.raises(HostNotAllowed):
        access.check(request(host="old.example"))


def test_remembered_hosts_do_not_fill_the_memory() -> None:
    access = Access()
    for port in range(2000):
        access.check(request(host=f"localhost:{port}"))
    assert len(access._good_hosts) <= 512


@pytest.mark.parametrize(
    ("target", "passes"),
    [
        ("/api/models", True),
        ("*", True),
        ("http://localhost:8080/api/models", True),
        ("HTTP://LOCALHOST:8080/api/models", True),
        ("http://evil.example/api/models", False),
        ("http://evil.example:8080/api/models", False),
        ("http://localhost:8081/api/models", False),
        ("http://evil@localhost:8080/api/models", False),
        ("http://localhost:8080@evil.example/api/models", False),
        ("//evil.example/api/models", True),
        ("localhost:8080", False),
        ("http:///api/models", False),
        ("http://[evil/api/models", False),
        ("", False),
    ],
)
def test_a_target_that_names_a_host_names_the_same(target: str, passes: bool) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        asked = request(method, target, host="localhost:8080")
        if passes:
            ACCESS.check(asked)
        else:
            with pytest.raises(HostNotAllowed):
                ACCESS.check(asked)


# ---- Origin ------------------------------------------------------------------------------------

ALLOWED = [
    ("/api/models", {}),
    ("/api/models", {"origin": "http://localhost:8080"}),
    ("/api/models", {"origin": "https://localhost:8080"}),
    ("/api/models", {"origin": "HTTP://LOCALHOST:8080"}),
    ("/api/models", {"origin": "http://localhost:8080", "sec_fetch_site": "same-origin"}),
    ("/api/models", {"sec_fetch_site": "same-origin"}),
    ("/api/models", {"sec_fetch_site": "none"}),
    ("/api/models", {"origin": "https://ui.example.org", "sec_fetch_site": "cross-site"}),
    ("/v1/chat/completions", {"origin": "http://localhost:3000"}),
    ("/v1/chat/completions", {"origin": "http://127.0.0.1:5173"}),
    ("/v1/chat/completions", {"origin": "http://[::1]:5173"}),
    ("/v1/chat/completions", {"origin": "app://obsidian.md"}),
    ("/v1/chat/completions", {"origin": "vscode-webview://1a2b"}),
    ("/v1/chat/completions", {"origin": "tauri://localhost"}),
]
REFUSED = [
    ("/api/models", {"origin": "http://evil.example"}),
    ("/api/models", {"origin": "null"}),
    ("/api/models", {"origin": ""}),
    ("/api/models", {"origin": "http://localhost:3000"}),
    ("/api/models", {"origin": "app://obsidian.md"}),
    ("/api/models", {"origin": "http://localhost:8080.evil.example"}),
    ("/api/models", {"origin": "http://localhost:80800"}),
    ("/api/models", {"origin": "https://ui.example.org.evil.example"}),
    ("/api/models", {"origin": "http://ui.example.org"}),
    ("/api/models", {"sec_fetch_site": "cross-site"}),
    ("/api/models", {"sec_fetch_site": "same-site"}),
    ("/api/models", {"sec_fetch_site": "nonsense"}),
    ("/v1/chat/completions", {"origin": "null"}),
    ("/v1/chat/completions", {"origin": "http://localhost.evil.example"}),
    ("/v1/chat/completions", {"origin": "http://evil.example#@localhost"}),
    ("/v1/chat/completions", {"origin": "http://[::1"}),
    ("/v1/chat/completions", {"origin": "ftp://localhost"}),
    ("/v1x/chat", {"origin": "http://localhost:3000"}),
]
CHANGING = ["POST", "PUT", "PATCH", "DELETE", "FOO", "CONNECT", "TRACE", "post"]


@pytest.mark.parametrize(("path", "fields"), ALLOWED)
@pytest.mark.parametrize("method", CHANGING)
def test_origins_that_may_drive_the_program(method: str, path: str, fields: dict[str, str]) -> None:
    ACCESS.check(request(method, path, **fields))


@pytest.mark.parametrize(("path", "fields"), REFUSED)
@pytest.mark.parametrize("method", CHANGING)
def test_origins_that_may_not(method: str, path: str, fields: dict[str, str]) -> None:
    with pytest.raises(OriginNotAllowed) as caught:
        ACCESS.check(request(method, path, **fields))
    assert caught.value.status == 403


@pytest.mark.parametrize(("path", "fields"), REFUSED)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_reading_is_never_refused_for_its_origin(
    method: str, path: str, fields: dict[str, str]
) -> None:
    ACCESS.check(request(method, path, **fields))


def test_a_form_in_disguise_is_refused() -> None:
    """Text needs no preflight: a page of any origin can send it."""
    for path in ("/v1/chat/completions", "/api/models/x/start"):
        with pytest.raises(OriginNotAllowed):
            ACCESS.check(
                request("POST", path, origin="http://evil.example", content_type="text/plain")
            )


def test_the_address_of_all_addresses() -> None:
    """0.0.0.0 is this machine: served to programs, not to pages of others."""
    ACCESS.check(request("POST", host="0.0.0.0:8080"))
    with pytest.raises(OriginNotAllowed):
        ACCESS.check(request("POST", host="0.0.0.0:8080", origin="http://evil.example"))


# ---- CORS --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "fields"), ALLOWED)
def test_allowed_pages_can_read_answers(path: str, fields: dict[str, str]) -> None:
    headers = ACCESS.cors_headers(request("GET", path, **fields))
    if "origin" not in fields:
        assert headers == ()
        return
    assert dict(headers) == {"Access-Control-Allow-Origin": fields["origin"], "Vary": "Origin"}


@pytest.mark.parametrize(("path", "fields"), REFUSED)
def test_strangers_cannot_read_answers(path: str, fields: dict[str, str]) -> None:
    headers = dict(ACCESS.cors_headers(request("GET", path, **fields)))
    assert not any(name.startswith("Access-Control") for name in headers)


# ---- the path ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/v1/chat/completions",
        "/v1/chat/completions?x=../..",
        "/v1/audio.transcriptions",
        "/v1/a...b",
        "/v1/a%20b",
        "/v1/%E4%BD%A0",
        "/",
    ],
)
def test_plain_paths(target: str) -> None:
    check_target(request("POST", target))


@pytest.mark.parametrize(
    "target",
    [
        "http://evil.example/v1/chat/completions",
        "*",
        "v1/chat",
        "/v1/../api",
        "/v1/..",
        "/v1/./chat",
        "/v1/%2e%2E/api",
        "/v1/.%2e/api",
        "/v1/..%2fapi",
        "/v1%2Fchat/completions",
        "/v1/..;/api",
        "/v1\\chat",
        "/v1/%5Cchat",
        "/v1/chat%00",
        "/v1/chat#/../x",
        "/v1/chat\x7f",
        "/v1/chät",
    ],
)
def test_ambiguous_paths(target: str) -> None:
    with pytest.raises(BadRequest):
        check_target(request("POST", target))


PIECES = [
    *"/ / . .. %2e %2E %2f %2F %5c %5C \\ %00 ; %3b ? # // v1 chat %25 %252e a %c0%ae".split(),
    *" \t\n\0\x7f\x80é你",
]


def test_what_is_accepted_has_one_reading() -> None:
    dice = random.Random(4)
    accepted = 0
    for _ in range(10_000):
        raw = dice.choice(["/", "/v1/", ""]) + "".join(dice.choices(PIECES, k=dice.randrange(8)))
        try:
            check_target(request("POST", raw))
        except BadRequest:
            continue
        accepted += 1
        path = raw.partition("?")[0]
        assert path.startswith("/")
        assert raw.isascii()
        assert raw.isprintable()
        assert "#" not in raw
        for segment in map(unquote, path.split("/")):
            assert segment.partition(";")[0] not in (".", ".."), raw
            assert not set(segment) & {"/", "\\", "\0"}, raw
    assert accepted > 500


SOME_HOSTS = st.sampled_from(["localhost", "127.0.0.1:8080", "[::1]", "evil.example", ""])


@given(
    host=st.none() | SOME_HOSTS,
    known=st.lists(SOME_HOSTS, max_size=3),
    fields=st.dictionaries(
        st.sampled_from(["Origin", "Sec_Fetch_Site", "X_Other"]),
        st.sampled_from(["http://localhost", "null", "cross-site", "same-origin", ""]),
        max_size=3,
    ),
)
def test_what_is_surely_allowed_passes_the_check(
    host: str | None, known: list[str], fields: dict[str, str]
) -> None:
    access = Access()
    for name in known:
        with suppress(LLMManagerError):
            access.check(request("POST", host=name))
    asked = request("POST", host=host, **fields)
    if access.surely_allows(asked.headers):
        access.check(asked)
        assert set(fields) <= {"X_Other"}
    elif host in known:  # it is not needlessly shy
        assert fields or not host or host == "evil.example"


@given(st.text(st.characters(codec="ascii"), max_size=20).map(lambda text: "/" + text))
def test_a_plain_target_passes_its_check(target: str) -> None:
    if is_plain_target(target):
        check_target(request("POST", target, host="localhost"))
