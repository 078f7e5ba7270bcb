"""
Passwords as files of C{htpasswd} keep them.

bcrypt (C{$2y$}, by the package C{bcrypt}) is what to use: C{htpasswd -B}. SHA-crypt (C{$5$}, C{$6$}: C{openssl passwd -6},
https://www.akkadia.org/drepper/SHA-crypt.txt), C{apr1} (the default of C{htpasswd}) and C{{SHA}} are read because files have them.
The C{crypt} of the system is not asked: Python 3.13 has it no more, and C{crypt(3)} would take plain text for the old DES.

A slow hash is slow on purpose. Whoever asks does it off the reactor's thread, and those that Python computes
(L{is_made_by_python}) one at a time: they hold the interpreter.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Any

__all__ = ["is_known", "is_made_by_python", "matches"]

_ALPHABET = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BCRYPT = re.compile(rb"\$2[abxy]\$(0[4-9]|1[0-9])\$[./A-Za-z0-9]{53}")
_BCRYPT_MOST = 72  # bytes that it looks at
_SHA_CRYPT = re.compile(rb"\$([56])\$(?:rounds=([0-9]{1,7})\$)?([^$:\s]{0,16})\$([./A-Za-z0-9]{43}|[./A-Za-z0-9]{86})")
_SHA_ROUNDS, _LEAST_ROUNDS, _MOST_ROUNDS = 5000, 1000, 1_000_000
_APR1 = re.compile(rb"\$apr1\$([^$:\s]{0,8})\$([./A-Za-z0-9]{22})")
_APR1_ROUNDS = 1000
_SHA1 = re.compile(rb"\{SHA\}([A-Za-z0-9+/]{27}=)")
#: Which bytes of a digest make up each four characters.
_ORDER_APR1 = [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)]


def is_known(stored: bytes) -> bool:
    """Whether C{stored} is a hash of one of these kinds."""
    return any(form.fullmatch(stored) for form in (_BCRYPT, _SHA_CRYPT, _APR1, _SHA1))


def is_made_by_python(stored: bytes) -> bool:
    """Whether the rounds of C{stored}, a hash of one of these kinds, are Python's: SHA-crypt and apr1."""
    return stored.startswith((b"$5$", b"$6$", b"$apr1$"))


def matches(password: bytes, stored: bytes) -> bool:
    """
    Whether C{stored} is the hash of C{password}. The time it takes tells nothing of how much of it was right.

    @raise ImportError: it is by bcrypt, and that is not installed.
    @raise ValueError: it is of no kind that is known.
    """
    if b"\0" in password:
        return False  # where C functions hash, the password would end there
    if _BCRYPT.fullmatch(stored):
        return _bcrypt_matches(password, stored)
    if found := _SHA_CRYPT.fullmatch(stored):
        rounds = None if found[2] is None else int(found[2])
        made = sha_crypt(password, found[3], found[1] == b"6", rounds)
        return hmac.compare_digest(made, stored[stored.rindex(b"$") + 1 :])
    if found := _APR1.fullmatch(stored):
        return hmac.compare_digest(apr1(password, found[1]), found[2])
    if found := _SHA1.fullmatch(stored):
        made = base64.b64encode(hashlib.sha1(password, usedforsecurity=False).digest())
        return hmac.compare_digest(made, found[1])
    raise ValueError("a hash of an unknown kind")


def _bcrypt_matches(password: bytes, stored: bytes) -> bool:
    import bcrypt

    # its other bytes never counted; since bcrypt 5 they are an error
    return bcrypt.checkpw(password[:_BCRYPT_MOST], stored)


def sha_crypt(password: bytes, salt: bytes, wide: bool, rounds: int | None = None) -> bytes:
    """
    SHA-crypt's hash, without what stands before it.

    @param wide: whether with SHA-512, C{$6$}; else SHA-256, C{$5$}.
    @param rounds: None for 5,000.
    """
    new: Callable[[bytes], Any] = hashlib.sha512 if wide else hashlib.sha256
    size = 64 if wide else 32
    other = new(password + salt + password).digest()
    mixed = new(password + salt + _repeated(other, len(password)) + _by_bits(len(password), other, password)).digest()
    p = _repeated(new(password * len(password)).digest(), len(password))
    s = _repeated(new(salt * (16 + mixed[0])).digest(), len(salt))
    count = _SHA_ROUNDS if rounds is None else min(max(rounds, _LEAST_ROUNDS), _MOST_ROUNDS)
    for turn in range(count):
        parts = [p if turn & 1 else mixed]
        if turn % 3:
            parts.append(s)
        if turn % 7:
            parts.append(p)
        parts.append(mixed if turn & 1 else p)
        mixed = new(b"".join(parts)).digest()
    return _encoded(mixed, _sha_order(size))


def _sha_order(size: int) -> list[tuple[int, ...]]:
    """Three bytes a third of the digest apart each; which of them comes first goes round."""
    third = size // 3
    order: list[tuple[int, ...]] = []
    for place in range(third):
        triple = (place, place + third, place + 2 * third)
        turn = place * (2 if size == 32 else 1) % 3
        order.append((*triple[turn:], *triple[:turn]))
    return [*order, (31, 30) if size == 32 else (63,)]


def apr1(password: bytes, salt: bytes) -> bytes:
    """The hash of Apache's variant of MD5-crypt, without what stands before it."""

    def md5(data: bytes) -> bytes:
        return hashlib.md5(data, usedforsecurity=False).digest()

    other = md5(password + salt + password)
    count = len(password)
    text = password + b"$apr1$" + salt + _repeated(other, count)
    while count:
        text += b"\0" if count & 1 else password[:1]
        count >>= 1
    mixed = md5(text)
    for turn in range(_APR1_ROUNDS):
        parts = [password if turn & 1 else mixed]
        if turn % 3:
            parts.append(salt)
        if turn % 7:
            parts.append(password)
        parts.append(mixed if turn & 1 else password)
        mixed = md5(b"".join(parts))
    return _encoded(mixed, [*_ORDER_APR1, (11,)])


def _repeated(block: bytes, size: int) -> bytes:
    """C{block} again and again, C{size} bytes in all."""
    return (block * (size // len(block) + 1))[:size]


def _by_bits(count: int, one: bytes, zero: bytes) -> bytes:
    """For each bit of C{count}, the lowest first, C{one} or C{zero}."""
    parts = []
    while count:
        parts.append(one if count & 1 else zero)
        count >>= 1
    return b"".join(parts)


def _encoded(digest: bytes, order: list[tuple[int, ...]]) -> bytes:
    """The bytes of C{digest} in groups, the first of a group highest; each group in six bits a character, the lowest first."""
    text = bytearray()
    for group in order:
        value = int.from_bytes(bytes(digest[place] for place in group), "big")
        for _ in range(len(group) + 1):
            text.append(_ALPHABET[value & 63])
            value >>= 6
    return bytes(text)
