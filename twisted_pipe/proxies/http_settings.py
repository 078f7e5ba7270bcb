"""
What an HTTP proxy does with a request: sites, routes and actions, as the proxy needs them at run time.

Everything here is frozen. The configuration file and the command line are checked and made into it once, at start-up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Union

import attrs

from twisted_pipe.http.body_filters import FilterUse
from twisted_pipe.http.forwarding import ForwardedStyle
from twisted_pipe.http.message import HeadLimits
from twisted_pipe.http.routing import RouteTable
from twisted_pipe.http.template import Template
from twisted_pipe.interfaces import NamedFilter
from twisted_pipe.limits import KIB, MIB, PipeLimits
from twisted_pipe.proxies.next_upstream import NextUpstream
from twisted_pipe.proxies.tunnel import TunnelSettings
from twisted_pipe.proxies.upgrade_settings import UpgradeSettings

__all__ = [
    "DEFAULT_CLIENT",
    "Action",
    "Answer",
    "ClientSettings",
    "ErrorPage",
    "ForwardedStyle",
    "HeadChanges",
    "HttpSettings",
    "ProxyTo",
    "Redirect",
    "Route",
    "Site",
]

_MOST_RESPONSE_FIELDS = 1000


@attrs.frozen(kw_only=True)
class ClientSettings:
    """
    What a client may do to its connection. The same for every site of a listener, because it holds before one is chosen.

    @ivar header_buffer_size: bytes a request's head may have (nginx C{large_client_header_buffers}). Default 32 KiB; more is 431,
        or 414 if its first line alone has more.
    @ivar max_headers: header fields a request may have. Default 100; more is 431.
    @ivar header_timeout: seconds for a head to arrive whole (nginx C{client_header_timeout}); 408. Default 60.
    @ivar body_timeout: seconds between two reads of a body (nginx C{client_body_timeout}); 408. Default 60.
    @ivar keepalive_timeout: seconds an idle connection is kept; 0 to close after each response. Default 75.
    @ivar keepalive_requests: requests a connection may carry. Default 1000.
    @ivar keepalive_time: seconds a connection may be used before it is closed after a response; 0 for ever. Default 1 h.
    @ivar lingering_timeout: seconds to wait for more of what a client still sends after its last response (nginx
        C{lingering_timeout}). Default 5.
    @ivar bare_lf: whether a line may end with a bare LF (RFC 9112, section 2.2). Default no: 400.
    """

    header_buffer_size: int = 32 * KIB
    max_headers: int = 100
    header_timeout: float = 60.0
    body_timeout: float = 60.0
    keepalive_timeout: float = 75.0
    keepalive_requests: int = 1000
    keepalive_time: float = 3600.0
    lingering_timeout: float = 5.0
    bare_lf: bool = False


DEFAULT_CLIENT = ClientSettings()


@attrs.frozen(kw_only=True)
class HeadChanges:
    """
    Header fields set, added and removed, in this order: removed first. Names keep the spelling they are sent with.

    @ivar set: replaces every field of that name; an empty value (after templates) sends none.
    @ivar add: adds one, whatever is there.
    @ivar remove: names, in lower case.
    @ivar always: for responses, whether C{add} also holds for answers other than 200, 201, 204, 206, 301-304, 307 and 308
        (nginx C{add_header … always}).
    """

    set: tuple[tuple[bytes, Template], ...] = ()
    add: tuple[tuple[bytes, Template], ...] = ()
    remove: frozenset[bytes] = frozenset()
    always: bool = False

    def __bool__(self) -> bool:
        return bool(self.set or self.add or self.remove)


@attrs.frozen(kw_only=True)
class ProxyTo:
    """
    Pass the request on.

    @ivar upstream: the C{HttpUpstream} (L{twisted_pipe.proxies.http_upstream}) of a group.
    @ivar uri: what replaces the route's prefix in the target's path (nginx C{proxy_pass http://name/uri}); None: nothing is
        touched.
    """

    upstream: Any
    uri: bytes | None = None


@attrs.frozen(kw_only=True)
class Answer:
    """
    Answer ourselves (nginx C{return CODE TEXT}).

    @ivar status: 200 to 599.
    @ivar body: as a template; None: the error page of C{status}, if it is an error.
    @ivar content_type: of C{body}.
    """

    status: int
    body: Template | None = None
    content_type: bytes = b"text/plain; charset=utf-8"


@attrs.frozen(kw_only=True)
class Redirect:
    """
    Send the client elsewhere (nginx C{return 301 URL}).

    @ivar location: as a template.
    @ivar status: 301, 302, 303, 307 or 308.
    """

    location: Template
    status: int = 302


Action = Union[ProxyTo, Answer, Redirect]


@attrs.frozen(kw_only=True)
class ErrorPage:
    """
    What a client gets instead of our own page for a status.

    @ivar body: fixed.
    @ivar status: a new status, None to keep it.
    """

    body: bytes
    content_type: bytes = b"text/html; charset=utf-8"
    status: int | None = None


@attrs.frozen(kw_only=True)
class HttpSettings:
    """
    How requests of one route are passed on. Names are nginx's C{proxy_...} without the prefix.

    @ivar limits: bounds of the response: buffers, spilling, rate, C{read_timeout}, C{send_timeout}.
    @ivar request_limits: bounds of a request's body on its way to the upstream. Its C{read_timeout} is not used: a client's
        silence is C{ClientSettings.body_timeout}'s business.
    @ivar header_buffer_size: bytes a response's head may have (nginx C{proxy_buffer_size}). Default 32 KiB; more is 502.
    @ivar connect_timeout: seconds for a connection to a server; 504. Default 60.
    @ivar send_timeout: seconds between two writes of a request to a server; 504. Default 60. (Of C{limits} it is the client's.)
    @ivar request_buffering: whether a request's body is received whole before a server is chosen. Default yes.
    @ivar request_body_buffer_size: bytes of a body kept in memory, and replayed if the request is repeated (nginx
        C{client_body_buffer_size}). Default 64 KiB.
    @ivar client_max_body_size: bytes a request's body may have, 0 for any; 413. Default 1 MiB.
    @ivar ignore_client_abort: whether a response is received to its end for a client that is gone. Default no.
    @ivar pass_host: whether the upstream gets the client's C{Host}; else, or if it names none, the server's address. Default
        yes.
    @ivar forwarded: see L{ForwardedStyle}.
    @ivar via: our pseudonym in C{Via}; empty for none.
    @ivar request_headers: changes toward the upstream.
    @ivar response_headers: changes toward the client.
    @ivar response_filters: toward the client, in order.
    @ivar request_filters: toward the upstream, in order.
    @ivar message_filters: for heads, in order: an C{IMessageFilter} each.
    @ivar upstreams: those that they may choose instead of the route's, by name.
    @ivar intercept_errors: whether an upstream's own responses of 300 and more are replaced where there is a page for them.
    @ivar error_pages: by status.
    @ivar next_upstream: when a request is sent to another server.
    @ivar upgrade: which other protocols a client may change to, and what then holds.
    @ivar bare_lf: whether a line of a server's head may end with a bare LF. Default no: 502.
    @ivar logs: where requests are written, as C{HttpProxy}'s C{open_log} knows it; None: to the proxy's own logs.
    """

    limits: PipeLimits = attrs.field(factory=PipeLimits)
    request_limits: PipeLimits = attrs.field(factory=PipeLimits)
    header_buffer_size: int = 32 * KIB
    connect_timeout: float = 60.0
    send_timeout: float = 60.0
    request_buffering: bool = True
    request_body_buffer_size: int = 64 * KIB
    client_max_body_size: int = MIB
    ignore_client_abort: bool = False
    pass_host: bool = True
    forwarded: ForwardedStyle = ForwardedStyle.X_FORWARDED
    via: bytes = b"twisted_pipe"
    request_headers: HeadChanges = HeadChanges()
    response_headers: HeadChanges = HeadChanges()
    response_filters: tuple[FilterUse, ...] = ()
    request_filters: tuple[FilterUse, ...] = ()
    message_filters: tuple[NamedFilter, ...] = ()
    upstreams: Mapping[str, Any] = attrs.field(factory=dict)
    intercept_errors: bool = False
    error_pages: Mapping[int, ErrorPage] = attrs.field(factory=dict)
    next_upstream: NextUpstream = attrs.field(factory=NextUpstream)
    upgrade: UpgradeSettings = attrs.field(factory=UpgradeSettings)
    bare_lf: bool = False
    logs: tuple[Any, ...] | None = None
    #: of a response's head
    head_limits: HeadLimits = attrs.field(init=False, repr=False, eq=False)
    #: of what has changed to another protocol
    tunnel: TunnelSettings = attrs.field(init=False, repr=False, eq=False)
    #: whether a response goes out as it came, but for its framing
    plain_response: bool = attrs.field(init=False, repr=False, eq=False)

    @head_limits.default
    def _limits_of_heads(self) -> HeadLimits:
        return HeadLimits(self.header_buffer_size, _MOST_RESPONSE_FIELDS, self.bare_lf)

    @tunnel.default
    def _settings_of_tunnels(self) -> TunnelSettings:
        return self.upgrade.tunnel(self.limits, attrs.evolve(self.request_limits, send_timeout=self.send_timeout))

    @plain_response.default
    def _responses_are_plain(self) -> bool:
        changes = self.response_headers or self.response_filters or self.message_filters
        return not (changes or self.intercept_errors)


@attrs.frozen(kw_only=True)
class Route:
    """
    @ivar action: what is done.
    @ivar settings: how.
    @ivar prefix: the part of the path that C{ProxyTo.uri} replaces; empty for routes by regular expression.
    """

    action: Action
    settings: HttpSettings = attrs.field(factory=HttpSettings)
    prefix: bytes = b""
    #: whether a request goes out as it came, but for what tells whom it is for
    plain: bool = attrs.field(init=False, repr=False, eq=False)

    @plain.default
    def _is_plain(self) -> bool:
        action, settings = self.action, self.settings
        changed = isinstance(action, ProxyTo) and action.uri is not None
        return settings.pass_host and not settings.request_headers and not changed


@attrs.frozen(kw_only=True)
class Site:
    """
    A virtual server.

    @ivar name: its first name, C{$server_name}; empty for one without names.
    @ivar routes: a L{RouteTable} of L{Route}s.
    @ivar settings: for what no route was found for.
    """

    name: str
    routes: RouteTable[Route]
    settings: HttpSettings = attrs.field(factory=HttpSettings)
