"""From the C{tls} tables of a configuration file to what speaks TLS. All their files are read at start-up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import attrs

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.http.routing import SiteTable
from twisted_pipe.service.config.keys import Path, Table
from twisted_pipe.service.config.layers import Layers
from twisted_pipe.service.config.model import HttpServerTable, StreamServerTable
from twisted_pipe.service.config.model_tls import ServerTlsTable, UpstreamTlsTable
from twisted_pipe.service.config.problems import Problems, Skip, dotted
from twisted_pipe.service.entrance_settings import HTTP_ALPN, EntranceSettings
from twisted_pipe.tls.certificates import load_authorities, load_certificate, load_revoked
from twisted_pipe.tls.client import ClientTls
from twisted_pipe.tls.names import host_of
from twisted_pipe.tls.server import ServerTls, ServerTlsSettings, TlsSite
from twisted_pipe.tls.settings import (
    CertificateFiles,
    CipherSettings,
    ClientRules,
    ClientTlsSettings,
    VerifyClient,
    Version,
)

M = TypeVar("M", ServerTls, ClientTls)

__all__ = ["CIPHERS", "CLIENT", "ENTRANCE", "SERVER", "TlsMaker"]

#: The key of each field of the settings that has one of its own name's.
CIPHERS = {"min_version": "min_version", "ciphers": "ciphers"}
SERVER = {
    "tickets": "session_tickets",
    "session_timeout": "session_timeout",
    "reject_unknown_names": "reject_unknown_names",
}
ENTRANCE = {"handshake_timeout": "handshake_timeout"}
CLIENT = {
    "verify": "verify",
    "depth": "verify_depth",
    "server_name": "server_name",
    "reuse_sessions": "session_reuse",
}
_OF_ADDRESS = (*CIPHERS.values(), *SERVER.values(), *ENTRANCE.values())
_UNKNOWN = -1


@attrs.define
class TlsMaker:
    """
    @ivar problems: where what is wrong is said.
    @ivar resolve: makes paths of the file absolute.
    @ivar clients: all that was made for upstreams.
    """

    problems: Problems
    resolve: Callable[[str], str]
    clients: list[ClientTls] = attrs.field(factory=list, init=False)
    _entrances: dict[tuple[int, ...], EntranceSettings] = attrs.field(factory=dict, init=False)
    _default: ClientTls | None = attrs.field(default=None, init=False)

    # clients

    def entrance(self, tables: Sequence[HttpServerTable | StreamServerTable]) -> EntranceSettings:
        """
        TLS for an address.

        @param tables: the servers there, its default first. Those without a C{tls} table have that of the default.
        @raise Skip: anything of it is wrong; all of that has been reported.
        """
        key = tuple(id(table) for table in tables)
        if key not in self._entrances:
            self._entrances[key] = self._entrance(tables)
        return self._entrances[key]

    def _entrance(self, tables: Sequence[HttpServerTable | StreamServerTable]) -> EntranceSettings:
        default = tables[0]
        if default.tls is None:
            self.problems.add(
                (*default.where, "tls"), "must be given: it is the default server of an address where TLS is spoken"
            )
            raise Skip
        given = [table.tls for table in tables if table.tls is not None]
        sites = [self.problems.attempt(self._site, each) for each in given]
        for other in given[1:]:
            self._check_agreed(other, default.tls)
        if None in sites:
            raise Skip
        made = {id(table): site for table, site in zip(given, sites, strict=True)}
        settings = ServerTlsSettings(
            sites=tuple(made[id(table.tls or default.tls)] for table in tables),  # type: ignore[misc]
            find=_finder(tables),
            alpn=self._alpn(default),
            ciphers=_ciphers(default.tls),
            **{**Layers((default.tls,)).fields(SERVER), **_whole_seconds(default.tls)},
        )
        tls = self._made(default.tls.where, ServerTls, settings)
        return EntranceSettings(tls=tls, **Layers((default.tls,)).fields(ENTRANCE))

    def rules(self, table: HttpServerTable) -> ClientRules | None:
        """What a server asks of clients that come by TLS; None if that is said elsewhere, or nothing is asked."""
        return None if table.tls is None else self._rules(table.tls)

    def _site(self, table: ServerTlsTable) -> TlsSite:
        """
        @raise Skip: a file of it is wrong.
        """
        keys = table.key or [""] * len(table.certificate)
        if not table.certificate:
            raise Skip
        if len(keys) != len(table.certificate):
            self.problems.add((*table.where, "key"), "must be as many files as there are of certificate")
            raise Skip
        files = [
            CertificateFiles(self.resolve(certificate), self.resolve(key) if key else "")
            for certificate, key in zip(table.certificate, keys, strict=True)
        ]
        right = []
        for place, each in enumerate(files):
            certificate = (*table.where, "certificate", place)
            key = (*table.where, "key", place) if table.key else certificate
            right.append(self._file({"certificate": certificate, "key": key}, load_certificate, each))
        rules = self._rules(table)
        right.append(self._check_rules(table, rules))
        if not all(right):
            raise Skip
        return TlsSite(certificates=tuple(files), rules=rules)

    def _rules(self, table: ServerTlsTable) -> ClientRules:
        asked = VerifyClient(table.verify_client or "off")
        if asked is VerifyClient.OFF:
            return ClientRules()
        return ClientRules(
            verify=asked,
            ca_file=self.resolve(table.client_ca) if table.client_ca else "",
            crl_file=self.resolve(table.client_crl) if table.client_crl else "",
            **Layers((table,)).fields({"depth": "verify_depth"}),
        )

    def _check_rules(self, table: ServerTlsTable, rules: ClientRules) -> bool:
        wanted = rules.verify in (VerifyClient.ON, VerifyClient.OPTIONAL)
        if wanted and not rules.ca_file:
            said = f'must be a file with the CAs of clients, as verify_client is "{rules.verify.value}"'
            self.problems.add((*table.where, "client_ca"), said)
        if rules.verify is VerifyClient.OFF:
            for name in ("client_ca", "client_crl", "verify_depth"):
                if getattr(table, name) is not None:
                    self.problems.add((*table.where, name), "must be left out, or verify_client given")
        if rules.crl_file and not rules.ca_file:
            self.problems.add((*table.where, "client_crl"), "must be left out: there is no client_ca")
        right = not rules.ca_file or self._named(table, load_authorities, "client_ca", rules.ca_file)
        return right and (not rules.crl_file or self._named(table, load_revoked, "client_crl", rules.crl_file))

    def _alpn(self, table: HttpServerTable | StreamServerTable) -> tuple[bytes, ...]:
        assert table.tls is not None
        given = tuple(each.encode() for each in table.tls.alpn or ())
        if isinstance(table, HttpServerTable):
            if table.tls.alpn is not None:
                self.problems.add((*table.tls.where, "alpn"), "must be left out: it is http/1.1")
            return HTTP_ALPN
        return given

    def _check_agreed(self, table: ServerTlsTable, default: ServerTlsTable) -> None:
        for name in _OF_ADDRESS:
            value = getattr(table, name)
            if value is not None and value != getattr(default, name):
                where = dotted(default.where)
                said = f"must be said in {where}, of the default server there: it holds before a server is chosen"
                self.problems.add((*table.where, name), said)

    # upstreams

    def default_client(self) -> ClientTls:
        """For C{https://}: verified, by the CAs of the system."""
        if self._default is None:
            self._default = ClientTls()
            self.clients.append(self._default)
        return self._default

    def client(self, table: UpstreamTlsTable, addresses: Sequence[str]) -> ClientTls:
        """
        TLS to the servers of an upstream.

        @param addresses: of the servers.
        @raise Skip: anything of it is wrong; all of that has been reported.
        """
        settings = ClientTlsSettings(
            trusted_ca=self.resolve(table.trusted_ca) if table.trusted_ca else "",
            crl_file=self.resolve(table.crl) if table.crl else "",
            certificate=self._own(table),
            ciphers=_ciphers(table),
            alpn=tuple(each.encode() for each in table.alpn or ()),
            **Layers((table,)).fields(CLIENT),
        )
        if settings.crl_file and not settings.trusted_ca:
            self.problems.add((*table.where, "crl"), "must be left out: there is no trusted_ca")
        right = True
        if settings.certificate is not None:
            certificate = (*table.where, "certificate")
            key = (*table.where, "key") if table.key is not None else certificate
            right = self._file({"certificate": certificate, "key": key}, load_certificate, settings.certificate)
        for name, load, path in (
            ("trusted_ca", load_authorities, settings.trusted_ca),
            ("crl", load_revoked, settings.crl_file),
        ):
            if path:
                right = self._named(table, load, name, path) and right
        nameless = [each for each in addresses if not host_of(each)]
        if settings.verify and not settings.server_name and nameless:
            said = f"must be the name of its certificate: {nameless[0]} has none (or verify = false)"
            self.problems.add((*table.where, "server_name"), said)
            right = False
        if not right:
            raise Skip
        made = self._made(table.where, ClientTls, settings)
        self.clients.append(made)
        return made

    def _own(self, table: UpstreamTlsTable) -> CertificateFiles | None:
        if table.certificate is None:
            if table.key is not None:
                self.problems.add((*table.where, "key"), "must be left out: there is no certificate")
            return None
        return CertificateFiles(self.resolve(table.certificate), self.resolve(table.key) if table.key else "")

    # files

    def _named(self, table: Table, load: Callable[[str, str], object], name: str, path: str) -> bool:
        """Whether the file of a key can be loaded."""
        return self._file({name: (*table.where, name)}, load, name, path)

    def _file(self, places: Mapping[str, Path], load: Callable[..., object], *arguments: Any) -> bool:
        """
        Whether it can be loaded.

        @param places: where what it complains of is said.
        """
        try:
            load(*arguments)
        except BadConfiguration as error:
            self.problems.add(places[error.name], error.expected)
            return False
        return True

    def _made(self, where: Path, make: Callable[[Any], M], settings: Any) -> M:
        """All that can still be wrong are the ciphers."""
        try:
            return make(settings)
        except BadConfiguration as error:
            self.problems.add((*where, error.name), error.expected)
            raise Skip from error


def _ciphers(table: ServerTlsTable | UpstreamTlsTable) -> CipherSettings:
    given = Layers((table,)).fields(CIPHERS)
    if "min_version" in given:
        given["min_version"] = Version(given["min_version"])
    return CipherSettings(**given)


def _whole_seconds(table: ServerTlsTable) -> dict[str, int]:
    return {} if table.session_timeout is None else {"session_timeout": round(table.session_timeout)}


def _finder(tables: Sequence[HttpServerTable | StreamServerTable]) -> Callable[[str], int | None]:
    """The place of the server that a name asks for, as the C{Host} of a request does."""
    found: SiteTable[int] = SiteTable()
    for place, table in enumerate(tables):
        if isinstance(table, HttpServerTable):
            with suppress(BadConfiguration):  # it has been reported
                found.add(table.names, place)  # one without names has the empty host, as for requests
    found.add(("~(?!)",), _UNKNOWN, default=True)  # a name that is no name

    def find(name: str) -> int | None:
        place = found.find(name.encode())
        return None if place == _UNKNOWN else place

    return find
