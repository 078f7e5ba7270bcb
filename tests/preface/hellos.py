"""ClientHellos: those of OpenSSL, and of our own making where it would not say such things."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from OpenSSL import SSL


def of_openssl(
    server_name: bytes | None = None,
    alpn: Sequence[bytes] = (),
    oldest: int | None = None,
    newest: int | None = None,
    ciphers: bytes | None = None,
    options: int = 0,
) -> bytes:
    """The first bytes that OpenSSL's client sends."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_NONE)
    if oldest is not None:
        context.set_min_proto_version(oldest)
    if newest is not None:
        context.set_max_proto_version(newest)
    if ciphers is not None:
        context.set_cipher_list(ciphers)
    if options:
        context.set_options(options)
    connection = SSL.Connection(context, None)
    if alpn:
        connection.set_alpn_protos(list(alpn))
    if server_name is not None:
        connection.set_tlsext_host_name(server_name)
    connection.set_connect_state()
    try:
        connection.do_handshake()
    except SSL.WantReadError:
        return connection.bio_read(1 << 16)
    raise AssertionError("nobody has answered")


def vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def extension(kind: int, data: bytes) -> bytes:
    return kind.to_bytes(2, "big") + vector(2, data)


def server_name(*names: bytes, kind: int = 0) -> bytes:
    return extension(0, vector(2, b"".join(bytes([kind]) + vector(2, name) for name in names)))


def alpn(*names: bytes) -> bytes:
    return extension(16, vector(2, b"".join(vector(1, name) for name in names)))


def versions(*numbers: int) -> bytes:
    return extension(43, vector(1, b"".join(number.to_bytes(2, "big") for number in numbers)))


def body(*extensions: bytes, version: int = 0x0303, ciphers: bytes = b"\x13\x01") -> bytes:
    """A ClientHello without the message's head; without an extension, it has no extensions at all."""
    start = version.to_bytes(2, "big") + bytes(range(32)) + vector(1, bytes(32)) + vector(2, ciphers) + vector(1, b"\0")
    return start + (vector(2, b"".join(extensions)) if extensions else b"")


def message(data: bytes, kind: int = 1) -> bytes:
    return bytes([kind]) + vector(3, data)


def records(data: bytes, sizes: Iterable[int] = (), kind: int = 22) -> bytes:
    """
    C{data} in records.

    @param sizes: of all but the last.
    """
    found = b""
    for size in sizes:
        found += bytes([kind, 3, 1]) + vector(2, data[:size])
        data = data[size:]
    return found + (bytes([kind, 3, 1]) + vector(2, data) if data else b"")


def cut_anew(hello: bytes, size: int) -> bytes:
    """A hello of one record in records of C{size} bytes."""
    data = hello[5:]
    return records(data, [size] * ((len(data) - 1) // size))
