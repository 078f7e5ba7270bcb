"""
Names and passwords: the scheme Basic (RFC 7617).

Slow hashes are what makes a stolen file of passwords worth little, and what would make every request slow: so a password that
was right is remembered for some minutes, as a keyed digest, with the hash it was right for. Wrong ones are not: who tries pays.
Hashing is done in threads, of which there are few, so those who wait for one are counted. A hash that Python computes holds the
interpreter: ten at a time are no faster than one, but a send and a receive of the reactor's thread take 800 us beside them, and 5
beside one (measured). So these are made one after the other, and of others so many that some threads are left.

Whether a user exists cannot be told from how long the answer takes, as long as all hashes of the file are of one kind.
"""

from __future__ import annotations

import binascii
import hmac
import os
import re
from collections import OrderedDict
from typing import ClassVar

import attrs
from twisted.internet.defer import Deferred, DeferredSemaphore, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_pipe.errors import BadConfiguration
from twisted_pipe.filters.messages.base import MessageFilter, at_least, option
from twisted_pipe.filters.messages.htpasswd import UserFile
from twisted_pipe.filters.messages.option_values import parse_optional_field_name
from twisted_pipe.filters.messages.password_hashes import is_made_by_python, matches
from twisted_pipe.interfaces import MessageOutput
from twisted_pipe.messages.reply import Reply
from twisted_pipe.messages.request import RequestMessage
from twisted_pipe.units import parse_count, parse_duration, parse_flag, parse_text

__all__ = ["BasicAuth"]

_log = Logger()
_SCHEME = re.compile(rb"basic +([A-Za-z0-9+/]+={0,2})", re.IGNORECASE)
_LONGEST = 512  # bytes of name and password: more than that is not hashed
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")  # RFC 7617, section 2
_MOST_REMEMBERED = 4096  # of which each has some 200 bytes
_THREADS = 4  # of the reactor's ten, in which names are looked up, too
_LOOK_EVERY = 1.0  # seconds between two looks at the file's times


@attrs.define
class BasicAuth(MessageFilter):
    """
    Lets a request go on if it has a name and the right password.

    Templates and logs have the name as C{$remote_user} and C{$filter_user}.

    @ivar file: users and hashes, a line each, as C{htpasswd} makes it: by bcrypt, SHA-crypt, apr1 or {SHA}. Read anew when it
        changes. Has to be given.
    @ivar realm: what browsers are told that the password is for. Default C{Restricted}.
    @ivar user_header: a field by which the upstream is told the name; what a client says in it, or in one that a server could take
        for it (C{X_User} for C{X-User}), is lost. Default none.
    @ivar pass_authorization: whether the upstream gets C{Authorization}, too. Default yes.
    @ivar remember: seconds that a password that was right is not hashed again; 0: never. Default 5 minutes.
    @ivar most_checks: passwords that may be hashed, or wait for it, at a time; more are answered 503. Default 64.
    """

    protects: ClassVar[bool] = True

    file: str = option(parse_text, help="users and hashes of their passwords, as htpasswd -B makes it")
    realm: str = option(parse_text, default="Restricted", help="what browsers are told that the password is for")
    user_header: str = option(parse_optional_field_name, default="", help="a field that tells the upstream the name")
    pass_authorization: bool = option(parse_flag, default=True, help="the upstream gets Authorization, too")
    remember: float = option(
        parse_duration, default=300.0, help="a password that was right is not hashed again", unit="seconds"
    )
    most_checks: int = option(
        at_least(1, parse_count), default=64, help="passwords that are hashed, or wait for it, at a time"
    )
    _users: UserFile = attrs.field(init=False, eq=False, repr=False)
    _challenge: Reply = attrs.field(init=False, eq=False, repr=False)
    _key: bytes = attrs.field(init=False, factory=lambda: os.urandom(32), eq=False, repr=False)
    _right: OrderedDict[bytes, float] = attrs.field(init=False, factory=OrderedDict, eq=False, repr=False)
    _checks: dict[bytes, list[Deferred[bool]]] = attrs.field(init=False, factory=dict, eq=False, repr=False)
    _alone: DeferredSemaphore = attrs.field(init=False, factory=lambda: DeferredSemaphore(1), eq=False, repr=False)
    _together: DeferredSemaphore = attrs.field(
        init=False, factory=lambda: DeferredSemaphore(_THREADS), eq=False, repr=False
    )
    _look_at: float = attrs.field(init=False, default=0.0, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if not re.fullmatch(r'[^\x00-\x1f\x7f"\\]+', self.realm):
            raise BadConfiguration("realm", self.realm, "must be without quotation marks, backslashes and controls")
        self._challenge = Reply(401, {b"WWW-Authenticate": f'Basic realm="{self.realm}", charset="UTF-8"'})
        self._users = UserFile(self.context.path(self.file))
        self._users.read()
        if any(stored.startswith(b"$2") for stored in self._users.users.values()):
            self._check_bcrypt()

    def _check_bcrypt(self) -> None:
        try:
            import bcrypt  # noqa: F401 (whether it is there)
        except ImportError as error:
            raise BadConfiguration("file", self.file, "has bcrypt hashes: pip install twisted_pipe[bcrypt]") from error

    def request(self, request: RequestMessage) -> MessageOutput:
        given = _credentials(request)
        if given is None:
            return self._challenge
        user, password = given
        self._look()
        stored = self._users.users.get(user)
        known = stored is not None
        if stored is None:
            # somebody else's: hashed all the same, and then refused
            stored = next(iter(self._users.users.values()), b"")
            if not stored:
                return self._challenge
        digest = hmac.digest(self._key, b"%b\0%b\0%b" % (user, password, stored), "sha256")
        if known and self._is_remembered(digest):
            self._pass(request, user)
            return None
        if digest not in self._checks and len(self._checks) >= self.most_checks:
            return Reply(503, {b"Retry-After": "1"})
        return self._judge(request, user, known, self._check(digest, password, stored), digest)

    async def _judge(
        self, request: RequestMessage, user: bytes, known: bool, checking: Deferred[bool], digest: bytes
    ) -> Reply | None:
        right = await checking
        if not (right and known):
            return self._challenge
        if self.remember:
            self._right[digest] = self._now + self.remember
            self._right.move_to_end(digest)
            if len(self._right) > _MOST_REMEMBERED:
                self._right.popitem(last=False)
        self._pass(request, user)
        return None

    def _look(self) -> None:
        """Read the file anew if it has changed. A wrong one changes nothing."""
        now = self._now
        if self._look_at <= now:
            self._look_at = now + _LOOK_EVERY
            try:
                self._users.read()
            except BadConfiguration as error:
                _log.error("basic-auth: the users are still those of before: {problem}", problem=error)

    @property
    def _now(self) -> float:
        return float(self.context.clock.seconds())

    def _is_remembered(self, digest: bytes) -> bool:
        until = self._right.get(digest)
        if until is None:
            return False
        if until <= self._now:
            del self._right[digest]
            return False
        return True

    def _check(self, digest: bytes, password: bytes, stored: bytes) -> Deferred[bool]:
        """Whether it is right. Those who ask for the same at the same time share the work."""
        checking: Deferred[bool] = Deferred()
        waiting = self._checks.get(digest)
        if waiting is not None:
            waiting.append(checking)
            return checking
        self._checks[digest] = [checking]
        ensureDeferred(self._hash(password, stored)).addBoth(self._hashed, digest)
        return checking

    async def _hash(self, password: bytes, stored: bytes) -> bool:
        async with self._alone if is_made_by_python(stored) else self._together:
            right: bool = await self.context.in_thread(matches, password, stored)
        return right

    def _hashed(self, right: bool | Failure, digest: bytes) -> None:
        for checking in self._checks.pop(digest):
            if checking.called:
                continue  # its client has gone
            if isinstance(right, Failure):
                checking.errback(right)
            else:
                checking.callback(right)

    def _pass(self, request: RequestMessage, user: bytes) -> None:
        request.set_variable("user", user)
        if self.user_header:
            request.headers.remove_alike(self.user_header)
            request.headers.set(self.user_header, user)
        if not self.pass_authorization:
            request.headers.remove(b"Authorization")


def _credentials(request: RequestMessage) -> tuple[bytes, bytes] | None:
    """Name and password; None if there are none, or they are malformed."""
    values = request.headers.get_all(b"authorization")
    match = _SCHEME.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        return None
    try:
        user, colon, password = binascii.a2b_base64(match[1] + b"==").partition(b":")
    except binascii.Error:
        return None
    if not colon or not user or len(user) + len(password) > _LONGEST or _CONTROL.search(user + password):
        return None
    return user, password
