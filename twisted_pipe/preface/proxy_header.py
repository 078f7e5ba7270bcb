"""What a PROXY header says, whichever of its two forms it has."""

from __future__ import annotations

import enum

import attrs

from twisted_pipe.preface.addresses import Address
from twisted_pipe.preface.tlv import ClientSsl, Tlv, TlvType, value_of

__all__ = ["Command", "ProxyHeader", "Version"]


class Version(enum.IntEnum):
    """The form of a header."""

    TEXT = 1  #: a line
    BINARY = 2

    def __str__(self) -> str:
        return f"v{self.value}"


class Command(enum.Enum):
    """On whose behalf a proxy has connected."""

    LOCAL = 0  #: its own, as for a health check
    PROXY = 1  #: a client's

    def __str__(self) -> str:
        return self.name


@attrs.frozen(kw_only=True)
class ProxyHeader:
    """
    @ivar version: its form.
    @ivar command: on whose behalf.
    @ivar source: the client's address. None, as C{destination}, if the connection's own addresses are the ones that count: for
        C{LOCAL}, and if the header does not know them.
    @ivar destination: what the client has connected to.
    @ivar tlvs: all that came, in order; none of C{LOCAL}, and none of version 1.
    @ivar taken: its length in bytes where it was read, 0 where it was made.
    """

    version: Version
    command: Command = Command.PROXY
    source: Address | None = None
    destination: Address | None = None
    tlvs: tuple[Tlv, ...] = ()
    taken: int = attrs.field(default=0, eq=False)

    def tlv(self, kind: int) -> bytes | None:
        """The value of the first TLV of a type, None if there is none."""
        return value_of(self.tlvs, kind)

    @property
    def ssl(self) -> ClientSsl | None:
        """What it says of the client's TLS, None if nothing."""
        value = self.tlv(TlvType.SSL)
        return None if value is None else ClientSsl.read(value)
