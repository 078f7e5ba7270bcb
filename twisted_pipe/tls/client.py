"""
TLS to upstreams.

The certificate of an upstream has to be for its name and of a CA that is trusted. Both are looked at while OpenSSL verifies it, so
one that will not do is refused by an alert, and before anything was sent. A session that is resumed was verified when it was made.

Sessions are kept when OpenSSL has them: at the end of a handshake, and in TLS 1.3 with each ticket, which comes later (RFC 8446,
section 4.6.1). A connection that goes without having sent or received close_notify takes its session with it (OpenSSL).
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

import attrs
from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, DNSPattern, IPAddress_ID, IPAddressPattern, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer

from twisted_pipe.ip import is_ip
from twisted_pipe.tls.certificates import load_certificate
from twisted_pipe.tls.connection import TlsConnection, known_of
from twisted_pipe.tls.contexts import new_context, trust, use_certificates
from twisted_pipe.tls.files import Stamp
from twisted_pipe.tls.names import host_of, server_name_of
from twisted_pipe.tls.problems import TlsRefused, explain, verification_problem
from twisted_pipe.tls.settings import ClientTlsSettings

__all__ = ["ClientTls", "Server"]

_DEFAULTS = ClientTlsSettings()
_MOST_SESSIONS = 1024
#: Of a host that is not written as a name can be (a UNIX socket without C{server_name}).
_NO_NAME = "it has no name to verify: server_name is wanted"


class Server(Protocol):
    """A server of an upstream group, as far as this room knows it."""

    @property
    def name(self) -> str:
        """Its address, C{HOST:PORT}."""

    @property
    def host(self) -> str:
        """The host that it was looked up as; empty: that of its address."""


@attrs.define
class _Asked:
    """
    What is L{known<twisted_pipe.tls.connection.TlsConnection>} of a connection.

    @ivar server: the address.
    @ivar host: the name that is verified.
    @ivar done: whether its handshake is.
    """

    server: str
    host: str
    done: bool = False


class ClientTls:
    """
    Makes connections to upstreams.

    @ivar settings: what was configured.
    @ivar warnings: what is unwise about the files, a line each.
    """

    def __init__(self, settings: ClientTlsSettings = _DEFAULTS) -> None:
        """
        @raise BadConfiguration: C{trusted_ca}, C{crl}, C{certificate}, C{key} or C{ciphers}, as C{name} says.
        """
        self.settings = settings
        self._sessions: OrderedDict[tuple[str, str], SSL.Session] = OrderedDict()
        self._stamp = Stamp.of(self.files)
        self.warnings: tuple[str, ...] = ()
        self._context, self.warnings = self._load()

    @property
    def files(self) -> tuple[str, ...]:
        """All that were read."""
        settings = self.settings
        found = [settings.trusted_ca, settings.crl_file] if settings.verify else []
        if settings.certificate is not None:
            found += settings.certificate.all
        return tuple(dict.fromkeys(path for path in found if path))

    # connections

    def connection(self, sock: socket.socket | None, server: Server) -> SSL.Connection:
        """
        A connection that is to begin a handshake.

        @param sock: its socket, connected; None if bytes are carried by the caller (C{bio_write}, C{bio_read}).
        @param server: which it is to; its host is asked for and verified, unless C{server_name} is set.
        """
        # a dot at the end is for resolvers only: neither SNI (RFC 6066, section 3) nor certificates have it
        host = (self.settings.server_name or server.host or host_of(server.name)).removesuffix(".")
        connection = TlsConnection(self._context, sock)
        connection.known = _Asked(server.name, host)
        connection.set_connect_state()
        asked = server_name_of(host)
        if asked:
            connection.set_tlsext_host_name(asked)
        if self.settings.reuse_sessions:
            session = self._sessions.get((server.name, host))
            if session is not None:
                connection.set_session(session)
        return connection

    def creator(self, server: Server) -> Any:
        """For Twisted: an C{IOpenSSLClientConnectionCreator} of connections to one server."""
        return _Creator(self, server)

    def problem_of(self, connection: SSL.Connection, server: Server) -> str | None:
        """After a handshake: why the connection must not be used; None if it may. Left to see is that there was a certificate."""
        if self.settings.verify and connection.get_peer_certificate(as_cryptography=True) is None:
            return "it sent no certificate"
        return None

    def explain(self, error: BaseException) -> str:
        """Why a handshake failed: L{twisted_pipe.tls.problems.explain}."""
        return explain(error)

    # files that change

    def changed(self) -> bool:
        """Whether files are others than when they were read. May be called in a thread."""
        return Stamp.of(self.files) != self._stamp

    def load(self) -> Callable[[], None]:
        """
        Read the files anew. May be called in a thread.

        @return: to be called in the reactor's thread: what was read holds from then on.
        @raise BadConfiguration: as for a new one. What was there before goes on.
        """
        stamp = Stamp.of(self.files)
        context, warnings = self._load()

        def use() -> None:
            self._stamp, self._context, self.warnings = stamp, context, warnings
            self._sessions.clear()

        return use

    def reload(self) -> None:
        """
        Read the files anew, and use them.

        @raise BadConfiguration: as L{load}.
        """
        self.load()()

    def refresh(self) -> None:
        """Nothing of ours grows old."""

    def _heard(self, connection: SSL.Connection, where: int, result: int) -> None:
        """OpenSSL has done a step. The first that comes to an end is the handshake, others are tickets of TLS 1.3."""
        if where != SSL.SSL_CB_CONNECT_EXIT or result != 1:
            return
        asked: _Asked = known_of(connection)
        if asked.done or connection.get_protocol_version() < SSL.TLS1_3_VERSION:
            self._remember((asked.server, asked.host), connection)
        asked.done = True

    def _remember(self, key: tuple[str, str], connection: SSL.Connection) -> None:
        session = connection.get_session()
        if session is None or connection.get_context() is not self._context:
            return
        self._sessions[key] = session
        self._sessions.move_to_end(key)
        if len(self._sessions) > _MOST_SESSIONS:
            self._sessions.popitem(last=False)

    def _load(self) -> tuple[SSL.Context, tuple[str, ...]]:
        settings = self.settings
        context = new_context(SSL.TLS_CLIENT_METHOD, settings.ciphers)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # ours is by server
        if settings.reuse_sessions:
            context.set_info_callback(self._heard)
        warnings: tuple[str, ...] = ()
        if settings.alpn:
            context.set_alpn_protos(list(settings.alpn))
        if settings.certificate is not None:
            loaded = load_certificate(settings.certificate)
            warnings = loaded.warnings
            use_certificates(context, [loaded])
        if not settings.verify:
            context.set_verify(SSL.VERIFY_NONE)
            return context, warnings
        if settings.trusted_ca:
            trust(context, ("trusted_ca", settings.trusted_ca), ("crl", settings.crl_file))
        else:
            context.set_default_verify_paths()
        context.set_verify_depth(settings.depth)
        context.set_verify(SSL.VERIFY_PEER, _verify_server)
        return context, warnings


def _verify_server(connection: SSL.Connection, certificate: X509, code: int, depth: int, right: int) -> bool:
    """
    Asked for each certificate of a chain, the root first, and for each problem.

    @raise TlsRefused: the server is.
    """
    if not right:
        raise TlsRefused(verification_problem(code, certificate))
    if depth == 0:
        asked: _Asked = known_of(connection)
        _verify_name(certificate, asked.host)
    return True


def _verify_name(certificate: X509, host: str) -> None:
    """
    @raise TlsRefused: it is not for that host.
    """
    if not host:
        raise TlsRefused(_NO_NAME)
    try:
        wanted = IPAddress_ID(host) if is_ip(host) else DNS_ID(server_name_of(host).decode())
        verify_service_identity(extract_patterns(certificate), [wanted], [])
    except (VerificationError, CertificateError, ValueError) as error:
        raise TlsRefused(f"its certificate is not for {host} but for {_names_in(certificate)}") from error


def _names_in(certificate: X509) -> str:
    """For whom it is."""
    try:
        patterns = extract_patterns(certificate)
    except CertificateError:
        patterns = []
    names = [_shown(pattern.pattern) for pattern in patterns if isinstance(pattern, (DNSPattern, IPAddressPattern))]
    return ", ".join(names[:5]) + ", …" * (len(names) > 5) if names else "no name at all (it has no subjectAltName)"


def _shown(pattern: object) -> str:
    return pattern.decode("ascii", "replace") if isinstance(pattern, bytes) else str(pattern)


@implementer(IOpenSSLClientConnectionCreator)
@attrs.frozen
class _Creator:
    tls: ClientTls
    server: Server

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        return self.tls.connection(None, self.server)
