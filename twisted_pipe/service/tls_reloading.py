"""
Certificates and keys are loaded anew when their files change, while connections come and go.

The files are looked at every L{INTERVAL} seconds, in a thread, as they are read: a disk that is slow makes nobody wait. What is
loaded is used for connections from then on; those that stand keep what they have. Files that are no good are told of once, and
what was there before goes on; two files that are replaced one after another are not good in between, so that is told only if they
still are not when looked at again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from twisted_pipe.errors import BadConfiguration

__all__ = ["INTERVAL", "TlsReloading"]

INTERVAL = 5.0

_log = Logger()


class TlsReloading:
    """Looks after files of TLS, from L{start} to L{stop}."""

    def __init__(self, reactor: Any, tls: Sequence[Any]) -> None:
        """
        @param reactor: with a thread pool.
        @param tls: each C{ServerTls} or C{ClientTls}.
        """
        self._reactor = reactor
        self._tls = tls
        self._told: dict[Any, str] = {}  # what is wrong with the files of each; "" before it is told
        self._looking = LoopingCall(self.look)
        self._looking.clock = reactor

    def start(self) -> None:
        """Say what is unwise about the files, and look at them from now on, if there are any."""
        for each in self._tls:
            _warn(each)
        if self._tls and not self._looking.running:
            self._looking.start(INTERVAL, now=False).addErrback(_failed)

    def stop(self) -> None:
        """A second call does nothing."""
        if self._looking.running:
            self._looking.stop()

    def look(self) -> Deferred[None]:
        """
        Look at all files once.

        @return: fires when what has changed is in use.
        """
        return Deferred.fromCoroutine(self._look())

    async def _look(self) -> None:
        for each in self._tls:
            each.refresh()
            use = await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), _load, each)
            if isinstance(use, str):
                self._tell(each, use)
                continue
            told = self._told.pop(each, None)
            if use is not None:
                use()
                _log.info("TLS: loaded anew: {files}", files=", ".join(each.files))
                _warn(each)
            elif told:
                _log.info("TLS: the files are as before: {files}", files=", ".join(each.files))

    def _tell(self, tls: Any, problem: str) -> None:
        """Only what is found twice, and that once."""
        told = self._told.get(tls)
        if told is None:
            self._told[tls] = ""
        elif told != problem:
            self._told[tls] = problem
            _log.error("TLS: {problem}; what was loaded before stays in use", problem=problem)


def _load(tls: Any) -> Any:
    """In a thread: what uses the files if they have changed, None if they have not, text if they are no good."""
    try:
        return tls.load() if tls.changed() else None
    except BadConfiguration as error:
        return f"{error.name} {error.value}: {error.expected}"
    except Exception as error:  # whatever a library makes of a damaged file: the others are looked after all the same
        return f"{', '.join(tls.files)}: {type(error).__name__}: {error}"


def _warn(tls: Any) -> None:
    for warning in tls.warnings:
        _log.warn("TLS: {said}", said=warning)  # "warning" is Python's own


def _failed(failure: Any) -> None:
    _log.failure("TLS: files are looked at no more", failure)
