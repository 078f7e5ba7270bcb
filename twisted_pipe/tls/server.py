"""
TLS to clients.

A connection begins with the B{entry} context, which has no certificate. When OpenSSL has read what the client wants, it asks
(L{ServerTls._choose}), and the connection goes on with the context of a certificate: that of the virtual server, and within it the
one whose names match best. So a certificate is replaced by replacing contexts, and the entry context, which holds the keys of
session tickets, stays: a client's session survives the reload of a certificate. It is replaced once a day, and with it these keys.

OpenSSL resumes a session before it asks. So a session would be worth as much with a virtual server that wants client certificates
as with the one it was made with, that does not (CVE-2025-23419). So only those servers give tickets that ask the same of clients
as the default server of the address; and a session that is resumed for any other is refused. When what is asked changes, by other
CAs or revocation lists, the keys of tickets are replaced. With TLS 1.2 OpenSSL takes the name from the session instead of from the
client: such a connection is one to the server that the session was made with (C{TlsFacts.serves}).

Versions, ciphers and tickets are settled before the name counts, so they are those of the whole address.
"""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
from OpenSSL import SSL
from OpenSSL.crypto import X509
from OpenSSL.SSL import X509VerificationCodes as Codes
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

from twisted_pipe.tls.certificates import Certificate, load_authorities, load_certificate
from twisted_pipe.tls.connection import TlsConnection, known_of
from twisted_pipe.tls.contexts import new_context, trust, use_certificates
from twisted_pipe.tls.files import Stamp
from twisted_pipe.tls.names import NameTable
from twisted_pipe.tls.native import on_server_name, session_reused, verify_as
from twisted_pipe.tls.problems import TlsRefused, verification_problem
from twisted_pipe.tls.settings import CertificateFiles, CipherSettings, ClientRules, VerifyClient

__all__ = ["Handshake", "ServerTls", "ServerTlsSettings", "TlsSite"]

_NO_RULES = ClientRules()
_CIPHERS = CipherSettings()
_TICKET_KEYS_LIVE = 86400.0  # seconds
_VERIFY_MODES = {
    VerifyClient.OFF: SSL.VERIFY_NONE,
    VerifyClient.ON: SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
    VerifyClient.OPTIONAL: SSL.VERIFY_PEER,
    VerifyClient.OPTIONAL_NO_CA: SSL.VERIFY_PEER,
}
#: What C{optional_no_ca} lets pass, as nginx.
_NO_CA = frozenset(
    {
        Codes.ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
        Codes.ERR_SELF_SIGNED_CERT_IN_CHAIN,
        Codes.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
        Codes.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
        Codes.ERR_CERT_UNTRUSTED,
    }
)


@attrs.frozen(kw_only=True)
class TlsSite:
    """
    A virtual server.

    @ivar certificates: at least one; the first is for clients that ask for no name.
    @ivar rules: what it asks of its clients.
    """

    certificates: tuple[CertificateFiles, ...]
    rules: ClientRules = _NO_RULES


def _nowhere(name: str) -> None:
    """No name is known."""


@attrs.frozen(kw_only=True)
class ServerTlsSettings:
    """
    @ivar sites: the virtual servers of an address; the first is its default.
    @ivar find: the place in C{sites} of the one that a name, lower case, asks for; None for a name that no server has.
    @ivar alpn: what we speak, the best first. A client that offers nothing of it is refused (RFC 7301, section 3.2). None: ALPN is
        not looked at.
    @ivar ciphers: versions and ciphers.
    @ivar tickets: whether clients may resume a session.
    @ivar session_timeout: for so many seconds.
    @ivar reject_unknown_names: whether a name that neither a server nor a certificate of the default server has is refused, and
        no name, too.
    """

    sites: tuple[TlsSite, ...]
    find: Callable[[str], int | None] = _nowhere
    alpn: tuple[bytes, ...] = ()
    ciphers: CipherSettings = _CIPHERS
    tickets: bool = True
    session_timeout: int = 300
    reject_unknown_names: bool = False


@attrs.frozen(eq=False)
class _Entry:
    """
    @ivar context: where connections begin.
    @ivar identity: of the rules of the default site.
    @ivar made: when, on the monotonic clock.
    """

    context: SSL.Context
    identity: bytes
    made: float


@attrs.define
class Handshake:
    """
    What is known of a connection beside what OpenSSL knows: its C{known}.

    @ivar server: who made it.
    @ivar entry: what it began with, which has to live as long.
    @ivar rules: what is asked of the client.
    @ivar unverified: why a certificate that was let pass could not be verified; empty if it could.
    """

    server: ServerTls
    entry: _Entry
    rules: ClientRules
    unverified: str = ""


@attrs.frozen(eq=False)
class _Site:
    """
    @ivar rules: what is asked of clients.
    @ivar identity: of these rules, and what was in their files.
    @ivar default: the context of its first certificate.
    @ivar named: contexts by names of certificates.
    """

    rules: ClientRules
    identity: bytes
    default: SSL.Context
    named: NameTable[SSL.Context]


@attrs.frozen(eq=False)
class _State:
    """
    What was read at one time.

    @ivar sites: in the order of the settings.
    @ivar stamp: of the files, when that began.
    @ivar warnings: what is unwise about them.
    """

    sites: tuple[_Site, ...]
    stamp: Stamp
    warnings: tuple[str, ...]


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """
    Makes connections of clients.

    @ivar settings: what was configured.
    @ivar warnings: what is unwise about the files, a line each.
    """

    def __init__(self, settings: ServerTlsSettings, now: Callable[[], float] = time.monotonic) -> None:
        """
        @raise BadConfiguration: C{certificate}, C{key}, C{client_ca}, C{client_crl} or C{ciphers}, as C{name} says.
        """
        self.settings = settings
        self._now = now
        self._state = self._load()
        self._entry = self._new_entry()
        self._one_rule = len({site.rules for site in settings.sites}) == 1

    @property
    def warnings(self) -> tuple[str, ...]:
        return self._state.warnings

    @property
    def files(self) -> tuple[str, ...]:
        """All that were read."""
        found: list[str] = []
        for site in self.settings.sites:
            for each in site.certificates:
                found += each.all
            found += [site.rules.ca_file, site.rules.crl_file]
        return tuple(dict.fromkeys(path for path in found if path))

    # connections

    def connection(self, sock: socket.socket | None = None) -> TlsConnection:
        """
        A connection that waits for a client's handshake.

        @param sock: its socket; None if bytes are carried by the caller (C{bio_write}, C{bio_read}).
        """
        entry = self._entry
        connection = TlsConnection(entry.context, sock)
        connection.known = Handshake(self, entry, self._state.sites[0].rules)
        connection.set_accept_state()
        if sock is not None:
            connection.say_plainly = sock.send
        return connection

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """For Twisted."""
        connection = self.connection()
        connection.say_plainly = lambda data: tlsProtocol.transport.write(data)  # it has none yet
        return connection

    def rules_of(self, host: str) -> ClientRules:
        """What the virtual server asks of its clients that requests for C{host} are for."""
        sites = self.settings.sites
        return sites[0 if self._one_rule else self.settings.find(host) or 0].rules

    # files that change

    def changed(self) -> bool:
        """Whether files are others than when they were read. May be called in a thread."""
        return Stamp.of(self.files) != self._state.stamp

    def load(self) -> Callable[[], None]:
        """
        Read the files anew. May be called in a thread.

        @return: to be called in the reactor's thread: what was read holds from then on. Connections that stand go on as they are.
        @raise BadConfiguration: as for a new one. What was there before goes on.
        """
        state = self._load()

        def use() -> None:
            asked = [site.identity for site in self._state.sites]
            self._state = state
            if asked != [site.identity for site in state.sites]:
                self._entry = self._new_entry()

        return use

    def reload(self) -> None:
        """
        Read the files anew, and use them.

        @raise BadConfiguration: as L{load}.
        """
        self.load()()

    def refresh(self) -> None:
        """To be called now and then: keys of session tickets that are a day old are replaced."""
        if self._now() - self._entry.made > _TICKET_KEYS_LIVE:
            self._entry = self._new_entry()

    # making contexts

    def _load(self) -> _State:
        stamp = Stamp.of(self.files)
        warnings: list[str] = []
        sites = tuple(self._make_site(site, warnings) for site in self.settings.sites)
        return _State(sites, stamp, tuple(dict.fromkeys(warnings)))

    def _make_site(self, site: TlsSite, warnings: list[str]) -> _Site:
        loaded = [load_certificate(files) for files in site.certificates]
        for each in loaded:
            warnings += each.warnings
        contexts: list[tuple[frozenset[str], SSL.Context]] = []
        identity = b""
        for names, together in _by_names(loaded).items():
            context = new_context(SSL.TLS_SERVER_METHOD, self.settings.ciphers)
            use_certificates(context, together)
            identity = self._ask(context, site.rules)
            if self.settings.alpn:
                context.set_alpn_select_callback(self._select_protocol)
            contexts.append((names, context))
        return _Site(site.rules, identity, contexts[0][1], NameTable(contexts))

    def _ask(self, context: SSL.Context, rules: ClientRules) -> bytes:
        """Ask clients for certificates. Returns the identity of the rules."""
        loaded = b""
        if rules.ca_file and rules.verify is not VerifyClient.OFF:
            loaded = trust(context, ("client_ca", rules.ca_file), ("client_crl", rules.crl_file))
            for authority in load_authorities("client_ca", rules.ca_file):
                context.add_client_ca(authority)
        context.set_verify(_VERIFY_MODES[rules.verify], None if rules.verify is VerifyClient.OFF else _verify_client)
        said = f"{rules.verify.value} {rules.depth} ".encode() if rules.verify is not VerifyClient.OFF else b""
        identity = hashlib.sha256(said + loaded).digest()
        context.set_session_id(identity)
        return identity

    def _new_entry(self) -> _Entry:
        settings, default = self.settings, self._state.sites[0]
        context = new_context(SSL.TLS_SERVER_METHOD, settings.ciphers)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # tickets are kept by clients
        context.set_timeout(settings.session_timeout)
        # what optional_no_ca let pass is not written in the ticket
        if not settings.tickets or default.rules.verify is VerifyClient.OPTIONAL_NO_CA:
            context.set_options(SSL.OP_NO_TICKET)
        context.set_session_id(default.identity)
        on_server_name(context, self._choose)
        return _Entry(context, default.identity, self._now())

    # asked by OpenSSL during a handshake

    def _choose(self, connection: SSL.Connection) -> None:
        """
        The context of the name that a client asks for.

        @raise TlsRefused: there is none.
        """
        name = (connection.get_servername() or b"").decode("ascii", "replace").lower().removesuffix(".")
        sites = self._state.sites
        place = self.settings.find(name) if name else None
        site = sites[place or 0]
        context = site.named.get(name)
        handshake: Handshake = known_of(connection)
        if context is None and place is None and self.settings.reject_unknown_names:
            raise TlsRefused(f"no server is named {name!r}" if name else "it asks for no server by name (SNI)")
        if site.identity != handshake.entry.identity:
            if session_reused(connection):
                raise TlsRefused(f"it resumes a session with {name!r} that was made with another server")
            connection.set_options(SSL.OP_NO_TICKET)
        handshake.rules = site.rules
        connection.set_context(context or site.default)
        verify_as(connection, context or site.default)

    def _select_protocol(self, connection: SSL.Connection, offered: list[bytes]) -> bytes:
        """
        @raise TlsRefused: there is none in common.
        """
        for ours in self.settings.alpn:
            if ours in offered:
                return ours
        names = ", ".join(each.decode("ascii", "backslashreplace") for each in offered)
        raise TlsRefused(f"it speaks only {names[:100]} (ALPN)")


def _by_names(certificates: Iterable[Certificate]) -> dict[frozenset[str], Sequence[Certificate]]:
    """Those of the same names (with keys of different kinds) are used together."""
    found: dict[frozenset[str], list[Certificate]] = {}
    for each in certificates:
        found.setdefault(each.names, []).append(each)
    return dict(found)


def _verify_client(connection: SSL.Connection, certificate: X509, code: int, depth: int, right: int) -> bool:
    """
    Asked for each certificate of a chain, the root first, and for each problem. The depth is judged here, because OpenSSL's own
    does not follow a change of context.

    @raise TlsRefused: the client is.
    """
    handshake: Handshake = known_of(connection)
    rules = handshake.rules
    if depth > rules.depth + 1:
        raise TlsRefused(verification_problem(Codes.ERR_CERT_CHAIN_TOO_LONG, certificate))
    if right:
        return True
    problem = verification_problem(code, certificate)
    if rules.verify is VerifyClient.OPTIONAL_NO_CA and code in _NO_CA:
        handshake.unverified = problem
        return True
    raise TlsRefused(problem)
