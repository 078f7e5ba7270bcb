"""
The same bytes to nginx and to C{twisted-pipe}, configured alike, before the same server: what it gets, what the client gets, and
whether the client's connection goes on, have to be the same. Where they are not, the table says why, and what is right.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import attrs
import pytest
from configured import configured
from nginx import http_block, running_nginx
from programs import free_port
from scripted_origin import ScriptedOrigin, scripted_origin
from wire_messages import ORIGIN, Message, alike, read_message

NGINX = """
    underscores_in_headers on;
    client_header_buffer_size 8k;
    server {{
        listen 127.0.0.1:{port};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $http_host;
        proxy_pass_header Server;
        proxy_pass_header Date;
        location / {{ proxy_pass http://127.0.0.1:{origin}; proxy_redirect off; }}
        location /uri/ {{ proxy_pass http://127.0.0.1:{origin}/other/; proxy_redirect off; }}
        location /page/ {{
            proxy_pass http://127.0.0.1:{origin};
            proxy_intercept_errors on;
            error_page 401 404 502 /the-page;
        }}
        location = /the-page {{ internal; default_type text/html; return 200 "sorry"; }}
        location /gzip/ {{ proxy_pass http://127.0.0.1:{origin}; gzip on; gzip_proxied any; gzip_vary on; }}
        location /refused {{ return 403; }}
        location = /end {{ return 200 "end"; }}
        location ~ [.]php$ {{ return 404; }}
    }}
"""
OURS = """
[upstreams.app]
servers = "127.0.0.1:{origin}"
keepalive = 0

[[servers]]
listen = "127.0.0.1:{port}"
forwarded = "off"
via = ""

[[servers.routes]]
prefix = "/"
proxy = "app"

[[servers.routes]]
prefix = "/uri/"
proxy = "http://app/other/"

[[servers.routes]]
prefix = "/page/"
proxy = "app"
intercept_errors = true
error_pages = {{ statuses = [401, 404, 502], body = "sorry", content_type = "text/html" }}

[[servers.routes]]
prefix = "/gzip/"
proxy = "app"
filters = [{{ name = "gzip", types = ["text/html"] }}]

[[servers.routes]]
prefix = "/refused"
refuse = 403

[[servers.routes]]
exact = "/end"
answer = {{ body = "end" }}

[[servers.routes]]
regex = "[.]php$"
refuse = 404
"""
#: Comes last on each connection: it is answered, by the proxy itself, if the connection goes on.
END = b"GET /end HTTP/1.1\r\nHost: end\r\nConnection: close\r\n\r\n"


@attrs.frozen
class Case:
    """
    @ivar name: what it is about.
    @ivar request: what the client sends; C{END} follows.
    @ivar answer: what the server sends.
    @ivar ours: if it is not to be the same, the statuses that the client gets of us.
    @ivar why: then, and who says so.
    """

    name: str
    request: bytes
    answer: bytes
    ours: tuple[int, ...] = ()
    why: str = ""


@attrs.frozen
class Outcome:
    """
    @ivar asked: what the server got.
    @ivar answered: what the client got, but for the answer to C{END}.
    @ivar goes_on: whether that came.
    """

    asked: tuple[Message, ...]
    answered: tuple[Message, ...]
    goes_on: bool


def _talk(port: int, data: bytes) -> bytes:
    """All that comes for C{data} until the connection ends, whichever way."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(data)
        try:
            while part := sock.recv(65536):
                got += part
        except ConnectionResetError:
            pass  # an unclean end, which is how a response breaks off
    return got


def _outcome(port: int, case: Case, origin: ScriptedOrigin) -> Outcome:
    origin.answer, origin.requests = case.answer, []
    rest = _talk(port, case.request + END)
    answered = []
    bodiless = case.request.startswith(b"HEAD ")
    while rest:
        message, rest = read_message(rest, bodiless)
        bodiless = False  # the answer to END
        answered.append(alike(message))
    goes_on = bool(answered) and answered[-1].body == b"end"
    asked = tuple(read_message(each, False, request=True)[0] for each in origin.requests)
    return Outcome(asked, tuple(answered[:-1] if goes_on else answered), goes_on)


@attrs.frozen
class Pair:
    """Both proxies, and the server behind them."""

    nginx: int
    ours: int
    origin: ScriptedOrigin


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    directory = tmp_path_factory.mktemp("alike")
    with scripted_origin() as origin:
        theirs, mine = free_port(), free_port()
        text = http_block(NGINX.format(port=theirs, origin=origin.port))
        ours = OURS.format(port=mine, origin=origin.port)
        with running_nginx(directory / "nginx", text, theirs), configured(directory, ours, mine) as running:
            yield Pair(theirs, mine, origin)
            assert "Traceback" not in running.log, running.log[-3000:]


def get(target: str = "/", *fields: str, method: str = "GET", version: str = "1.1", body: bytes = b"") -> bytes:
    """A request to C{a.test}."""
    return "\r\n".join([f"{method} {target} HTTP/{version}", "Host: a.test", *fields, "", ""]).encode("latin-1") + body


def says(*fields: str, status: str = "200 OK", body: bytes = b"hi", length: bool = True) -> bytes:
    """A response."""
    more = [f"Content-Length: {len(body)}"] if length else []
    return (
        "\r\n".join([f"HTTP/1.1 {status}", f"Server: {ORIGIN.decode()}", "Date: now", *fields, *more, "", ""]).encode(
            "latin-1"
        )
        + body
    )


HI = says()
TEXT = says("Content-Type: text/html", 'ETag: "a"', body=b"hello world " * 20)
CHUNKED = "Transfer-Encoding: chunked"


def targets() -> Iterator[Case]:
    """Of requests."""
    for target in (
        *(
            "/",
            "/?",
            "/a?b?c",
            "//a//b",
            "/a/../b",
            "/%41",
            "/a%2Fb",
            '/a"b|c\\d',
            "/\xe9",
            "/a?%zz",
            "/../b",
            "/%zz",
            "/%00",
        ),
        *(
            "/x.php",
            "/x.php/y",
            "/x%2ephp",
            "/a/../x.php",
            "x",
            "/\x01",
            "/a b",
            "http://a.test/x?y",
            "http://u@a.test/",
        ),
        *(
            "/uri/x",
            "/uri/",
            "/uri/a%2Fb",
            '/uri/%41"',
            "/uri//",
            "/uri/./x",
            "/uri/../x",
            "/uri/%25",
            "/uri/%3Fx?y",
            "/uri/\xe9",
        ),
        *("/refused", "/page/x", "/none.php"),
    ):
        yield Case(f"target {target!r}", get(target), HI)
    yield Case("another host in the target", get("http://b.test/"), HI, (200,), "it counts (RFC 9112, 3.2.2)")
    yield Case("a fragment", get("/a#b"), HI, (400,), "there is none in a target (RFC 9112, 3.2)")
    yield Case("OPTIONS *", get("*", method="OPTIONS"), HI, (200,), "from_nginx.md")
    yield Case("TRACE", get(method="TRACE"), HI, (200,), "from_nginx.md")
    yield Case("CONNECT", get(method="CONNECT"), HI)
    for method in ("HEAD", "POST", "DELETE", "M-SEARCH", "G_T"):
        yield Case(method, get(method=method), HI)
    for version in ("1.0", "1.2"):
        yield Case(f"version {version}", get(version=version), HI)
    yield Case("kept alive by 1.0", get("/", "Connection: keep-alive", version="1.0"), HI)
    yield Case("no Host", b"GET / HTTP/1.1\r\n\r\n", HI)
    yield Case("no Host by 1.0", b"GET / HTTP/1.0\r\n\r\n", HI, (200,), "the server gets its own; nginx: none")


def fields() -> Iterator[Case]:
    """Of requests."""
    for field in (
        *(
            "X:",
            "X:  v \t",
            "X: a\r\nX: b",
            "X_Y: v",
            "X: \xff",
            "X : v",
            ": v",
            "X: a\r\n b",
            "X: \0",
            "Host: b",
            "X: a\rb",
        ),
        *("Connection: close", "Connection: keep-alive", "Keep-Alive: timeout=5", "TE: trailers", "Upgrade: foo"),
        *("Range: bytes=0-1", 'If-None-Match: "a"', "Cookie: a\r\nCookie: b", "Accept-Encoding: gzip", "Via: 1.1 x"),
    ):
        yield Case(f"field {field!r}", get("/", field), HI)
    yield Case("what Connection names", get("/", "Connection: X", "X: 1"), HI, (200,), "is dropped (RFC 9110, 7.6.1)")
    yield Case("a dot in a name", get("/", "X.Y: 1"), HI, (200,), "from_nginx.md")
    yield Case("no colon", get("/", "X"), HI, (400,), "no field (RFC 9112, 5)")
    yield Case("a bare LF", b"GET / HTTP/1.1\nHost: a.test\n\n", HI, (400,), "from_nginx.md")


def bodies() -> Iterator[Case]:
    """Of requests."""
    for length in ("3", "03", "-3", "+3", "3,3", "x", "3\r\nContent-Length: 3", f"3\r\n{CHUNKED}"):
        yield Case(f"length {length!r}", get("/", f"Content-Length: {length}", method="POST", body=b"abc"), HI)
    for name, chunks in (
        *(("one", b"3\r\nabc\r\n0\r\n\r\n"), ("two", b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"), ("none", b"0\r\n\r\n")),
        *(("an extension", b'3;a="b"\r\nabc\r\n0\r\n\r\n'), ("a trailer", b"3\r\nabc\r\n0\r\nX: y\r\n\r\n")),
        *(
            ("no size", b"g\r\nabc\r\n0\r\n\r\n"),
            ("a sign", b"+3\r\nabc\r\n0\r\n\r\n"),
            ("too long", b"2\r\nabc\r\n0\r\n\r\n"),
        ),
        ("a size past all bounds", b"FFFFFFFFFFFFFFFFF\r\nabc"),
    ):
        yield Case(f"chunks: {name}", get("/", CHUNKED, method="POST", body=chunks), HI)
    large = b"a" * 200_000
    yield Case("a large one", get("/", f"Content-Length: {len(large)}", method="PUT", body=large), HI)
    yield Case(
        "a large chunk", get("/", CHUNKED, method="PUT", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(large), large)), HI
    )
    yield Case("with GET", get("/", "Content-Length: 3", body=b"abc"), HI)
    yield Case("no length", get(method="POST"), HI)
    yield Case("Transfer-Encoding by 1.0", get("/", CHUNKED, version="1.0", body=b"0\r\n\r\n"), HI)
    unwanted = get("/refused", "Content-Length: 3", method="POST", body=b"abc")
    yield Case("nobody wants it", unwanted, HI, (403,), "from_nginx.md: the last one of its connection")


def responses() -> Iterator[Case]:
    """Of the server."""
    for name, answer in {
        "chunked": says(CHUNKED, body=b"2\r\nhi\r\n0\r\n\r\n", length=False),
        "until the end": says(length=False),
        "too short": says("Content-Length: 5", length=False),
        "too long": says("Content-Length: 1", length=False),
        "no last chunk": says(CHUNKED, body=b"2\r\nhi\r\n", length=False),
        "nothing": b"",
        "half a head": HI[:30],
        "HTTP/1.0": HI.replace(b"HTTP/1.1", b"HTTP/1.0"),
        "no reason": says(status="200"),
        "205": says(status="205 Reset", body=b""),
        "304": says('ETag: "a"', status="304 Not Modified", length=False, body=b""),
        "206": says("Content-Range: bytes 0-1/9", status="206 Partial"),
        "999": says(status="999 What"),
        "cookies": says("Set-Cookie: a", "Set-Cookie: b", "set-cookie: c"),
        "its location": says("Location: http://127.0.0.1/x", status="302 Found"),
        "for its proxy": says("X-Accel-Buffering: no", "X-Accel-Limit-Rate: 100000"),
        "its connection": says("Connection: close", "Keep-Alive: timeout=5"),
        "426": says("Connection: Upgrade", "Upgrade: x", status="426 Upgrade Required"),
        "a NUL": says("X: a\0b"),
        "a folded field": says("X: a\r\n b"),
        "large": says(body=bytes(range(256)) * 2000),
        "its own 500": says(status="500 Whatever"),
    }.items():
        yield Case(f"response: {name}", get(), answer)
        if name not in (
            "until the end",
            "too short",
            "no last chunk",
        ):  # of which the end of a connection is all that tells
            yield Case(f"response by 1.0: {name}", get(version="1.0"), answer)
        yield Case(f"response to HEAD: {name}", get(method="HEAD"), answer)
    yield Case("204 with a length", get(), says(status="204 No Content", body=b""))
    yield Case("no HTTP", get(), b"hi there", (502,), "from_nginx.md")
    yield Case("101 unasked", get(), says("Upgrade: x", status="101 S", length=False, body=b""), (502,), "upgrade.py")


def pages_and_gzip() -> Iterator[Case]:
    """What routes do with responses."""
    for status in ("200 OK", "401 Unauthorized", "404 Not Found", "405 Not Allowed"):
        answer = says("WWW-Authenticate: Basic", "X-Mine: 1", "Set-Cookie: a", status=status)
        yield Case(f"page for {status}", get("/page/"), answer)
        yield Case(f"page for {status} to HEAD", get("/page/", method="HEAD"), answer)
    for accepted in ("gzip", "gzip;q=0", "GZIP", "identity, gzip", "br", "gzip;q=0.5", "gzip;q=0.000"):
        yield Case(f"gzip for {accepted}", get("/gzip/", f"Accept-Encoding: {accepted}"), TEXT)
    yield Case("gzip for *", get("/gzip/", "Accept-Encoding: *"), TEXT, (200,), "any will do (RFC 9110, 12.5.3)")
    wants = get("/gzip/", "Accept-Encoding: gzip")
    yield Case("gzip of another type", wants, TEXT.replace(b"html", b"png"))
    yield Case("gzip of what is coded", wants, TEXT.replace(b"ETag:", b"Content-Encoding: br\r\nETag:"))
    yield Case("gzip for HEAD", wants.replace(b"GET", b"HEAD"), TEXT)
    yield Case(
        "gzip, not to be transformed",
        wants,
        TEXT.replace(b"ETag:", b"Cache-Control: no-transform\r\nETag:"),
        (200,),
        "it says so",
    )


CASES = [*targets(), *fields(), *bodies(), *responses(), *pages_and_gzip()]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_as_nginx(pair: Pair, case: Case) -> None:
    theirs, ours = (_outcome(port, case, pair.origin) for port in (pair.nginx, pair.ours))
    if case.ours:
        assert theirs != ours, f"it is the same now: {case.why}"
        assert tuple(message.status for message in ours.answered) == case.ours
    else:
        assert ours == theirs
