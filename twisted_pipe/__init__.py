"""
nginx's event pipe and its edge-triggered engine, native to Twisted and programmable.

This module stays light: plugin drop-ins import it before any reactor is chosen. L{EventPipe} is therefore fetched on first
use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted_pipe.limits import PipeLimits

if TYPE_CHECKING:
    from twisted_pipe.net.driver import EventPipe
    from twisted_pipe.net.outcome import PipeOutcome

__version__ = "0.1.0"
__all__ = ["EventPipe", "PipeLimits", "PipeOutcome", "__version__"]


def __getattr__(name: str) -> Any:
    if name in ("EventPipe", "PipeOutcome"):
        from twisted_pipe.net import driver

        return getattr(driver, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
