from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.upstream.group import UpstreamGroup
from twisted_pipe.upstream.server import UpstreamServer
from twisted_pipe.upstream.tried import Tried


def server(name: str) -> UpstreamServer:
    return UpstreamServer(name, None, (name, 80))


class TriedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.group = UpstreamGroup([server("a"), server("b")], clock=Clock())
        self.tried = Tried()

    def try_one(self) -> str | None:
        """The name of the next server, which is asked in vain; None if there is none."""
        peer = self.group.pick(None, self.tried)
        if peer is None:
            return None
        self.group.failed(peer, "it does not answer")
        self.group.release(peer)
        self.tried.append(peer)
        return peer.name

    def test_each_once(self) -> None:
        self.assertEqual([self.try_one() for _ in range(3)], ["a", "b", None])

    def test_a_server_that_left_and_came_back_is_the_same(self) -> None:
        self.assertEqual(self.try_one(), "a")
        self.group.replace([server("b"), server("c")])
        self.assertEqual(self.try_one(), "b")
        self.group.replace([server("a"), server("c")])
        self.assertEqual([self.try_one(), self.try_one()], ["c", None])
        self.group.replace([server("a"), server("b")])
        self.assertIsNone(self.try_one())

    def test_a_new_one_in_its_place_is_another(self) -> None:
        self.assertEqual(self.try_one(), "a")
        self.group.replace([server("c")])
        self.assertEqual(self.try_one(), "c")

    def test_one_that_is_there_twice_is_two(self) -> None:
        """As with nginx: so the only server can be asked again."""
        self.group.replace([server("a"), server("a")])
        self.assertEqual([self.try_one() for _ in range(3)], ["a", "a", None])
