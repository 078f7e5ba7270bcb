"""What a filter may answer."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.messages.reply import Reply


class ReplyTests(SynchronousTestCase):
    def test_fields_are_given_as_a_mapping_or_as_pairs(self) -> None:
        self.assertEqual(Reply(200, {"A": "b"}).lines, (b"A: b",))
        self.assertEqual(Reply(200, [("A", "b"), (b"A", b"c")]).lines, (b"A: b", b"A: c"))

    def test_a_status_is_one_of_a_final_response(self) -> None:
        for status in (100, 199, 600, 0, "200", None):
            self.assertRaises(ValueError, Reply, status)

    def test_fields_are_checked(self) -> None:
        self.assertRaises(ValueError, Reply, 200, {"A": "b\r\nC: d"})
        self.assertRaises(ValueError, Reply, 200, {"Content-Length": "1"})

    def test_a_body_is_bytes_and_only_where_there_can_be_one(self) -> None:
        self.assertRaises(TypeError, Reply, 200, {}, "text")
        self.assertRaises(ValueError, Reply, 204, {}, b"x")
        self.assertRaises(ValueError, Reply, 304, {}, b"x")
        self.assertEqual(Reply(204, {}, b"").body, b"")

    def test_it_is_frozen(self) -> None:
        reply = Reply(200)
        self.assertRaises(AttributeError, setattr, reply, "status", 201)
