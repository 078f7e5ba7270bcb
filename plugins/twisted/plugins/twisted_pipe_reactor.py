"""The reactor, for C{--reactor=epollet}."""

from twisted.application.reactors import Reactor

epollet = Reactor(
    "epollet",
    "twisted_pipe.net.reactor",
    "edge-triggered epoll(7) reactor with tagged events and accept-first queues (Linux).",
)
