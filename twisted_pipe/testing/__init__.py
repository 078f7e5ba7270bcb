"""
For authors of filters: tests without sockets.

L{FilterHarness} drives filters as a pipe does; L{check_filter} proves that one keeps the contract of
L{twisted_pipe.interfaces.IPipeFilter}, however its stream is cut and wherever it breaks off; L{splits} are cuts for hypothesis.
L{MessageHarness} and L{check_message_filter} do the same for L{twisted_pipe.interfaces.IMessageFilter}. What is wrong is an
C{AssertionError} with a transcript, so trial, unittest and pytest will all do.
"""

from twisted_pipe.testing.cuts import splits
from twisted_pipe.testing.harness import FilterHarness
from twisted_pipe.testing.laws import FilterReport, check_filter
from twisted_pipe.testing.message_laws import check_message_filter
from twisted_pipe.testing.messages import MessageHarness

__all__ = [
    "FilterHarness",
    "FilterReport",
    "MessageHarness",
    "check_filter",
    "check_message_filter",
    "splits",
]
