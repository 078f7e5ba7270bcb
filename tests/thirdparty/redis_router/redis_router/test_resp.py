"""Commands and replies, however they are cut."""

from __future__ import annotations

import random
import time

from twisted.trial.unittest import SynchronousTestCase

from redis_router.resp import CommandParser, ProtocolError, ReplyError, ReplyFramer, encode_command, encode_error
from twisted_pipe.testing.cuts import many_cuts


def commands_of(pieces: list[bytes], **limits: int) -> list[object]:
    """The arguments of each, and the error that ended them."""
    parser = CommandParser(**limits)
    found: list[object] = []
    try:
        for piece in pieces:
            parser.feed(piece)
            while (command := parser.next()) is not None:
                raw, args = command
                assert raw == encode_command(args), raw
                found.append(args)
    except ProtocolError as error:
        found.append(str(error))
    return found


class CommandTests(SynchronousTestCase):
    def test_however_cut(self) -> None:
        stream = (
            encode_command([b"SET", b"key", b"value\r\n$3\r\n"])
            + b"PING\r\n*0\r\n\r\n  echo  word\tother \n"
            + encode_command([b"GET", b""])
        )
        expected = [[b"SET", b"key", b"value\r\n$3\r\n"], [b"PING"], [b"echo", b"word", b"other"], [b"GET", b""]]
        for pieces in many_cuts(stream):
            self.assertEqual(commands_of(pieces), expected, pieces)

    def test_no_commands(self) -> None:
        """The error is the same wherever it is cut, and what came before is still good."""
        for stream, error in {
            b"*1\r\n+PING\r\n": "expected '$', got '+'",
            b"*-1\r\n": "invalid multibulk length",
            b"*x\r\n": "invalid multibulk length",
            b"*01\r\n": "invalid multibulk length",
            b"*1\n$4\nPING\n": "invalid multibulk length",
            b"*99999999999999999999\r\n": "invalid multibulk length",
            b"*6\r\n": "more than 5 arguments",
            b"*1\r\n$-1\r\n": "invalid bulk length",
            b"*1\r\n$+4\r\nPING\r\n": "invalid bulk length",
            b"*1\r\n$4\r\nPINGxx": "expected the end of a bulk string",
            b"*2\r\n$3\r\nGET\r\n$81\r\n": "more than 100 bytes",
            b"*1\r\n$4000000000\r\n": "more than 100 bytes",
            b"x" * 101: "too big inline request",
            b"x" * 101 + b"\n": "too big inline request",
            b'SET a "b c"\r\n': "quotes in an inline command are not supported",
            b"GET a\0b\r\n": "quotes in an inline command are not supported",
        }.items():
            for pieces in many_cuts(b"PING\r\n" + stream):
                self.assertEqual(commands_of(pieces, max_command=100, max_arguments=5), [[b"PING"], error], pieces)

    def test_as_large_as_it_may_be(self) -> None:
        command = encode_command([b"SET", b"k", bytes(1000)])
        self.assertEqual(len(commands_of([command], max_command=len(command))), 1)
        self.assertEqual(commands_of([command], max_command=len(command) - 1), [f"more than {len(command) - 1} bytes"])

    def test_holds_no_more_than_a_command(self) -> None:
        parser = CommandParser()
        for _ in range(1000):
            parser.feed(encode_command([b"SET", b"k", bytes(1000)]) + b"*1\r\n$1")
            self.assertIsNotNone(parser.next())
            self.assertEqual(parser.held, 6)
            parser.feed(b"\r\nx\r\n")
            self.assertIsNotNone(parser.next())
        self.assertEqual(parser.held, 0)

    def test_linear(self) -> None:
        """A command that comes byte by byte, with many arguments or one large: as long for each byte."""

        def seconds(size: int) -> float:
            began = time.process_time()
            for stream in (encode_command([b"x"] * (size // 7)), encode_command([bytes(size)]), b"x" * (size // 16)):
                commands_of([stream[at : at + 1] for at in range(len(stream))], max_arguments=size)
            return time.process_time() - began

        seconds(1000)
        small = min(seconds(10_000) for _ in range(3))
        self.assertTrue(seconds(200_000) < 20 * small * 3)


REPLIES = [
    b"+OK\r\n",
    b"-ERR it failed\r\n",
    b":-12\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"$0\r\n\r\n",
    b"$9\r\n+OK\r\n+OK\r\r\n",
    b"*0\r\n",
    b"*3\r\n$1\r\na\r\n*2\r\n:1\r\n*-1\r\n$-1\r\n",
    # RESP3
    b"_\r\n",
    b"#t\r\n",
    b",3.25\r\n",
    b"(3492890328409238509324850943850943825024385\r\n",
    b"!5\r\nERR x\r\n",
    b"=7\r\ntxt:abc\r\n",
    b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n~2\r\n:1\r\n:2\r\n",
    b"~0\r\n",
    b"|1\r\n+ttl\r\n:3600\r\n$1\r\na\r\n",
    b"|0\r\n:1\r\n",
    b"*2\r\n:1\r\n|1\r\n+a\r\n%1\r\n:1\r\n:2\r\n:3\r\n",
    b">2\r\n+invalidate\r\n*1\r\n+key\r\n:7\r\n",
]


class ReplyTests(SynchronousTestCase):
    def ends_of(self, pieces: list[bytes], count: int) -> list[int]:
        """Where replies end, asked for C{count} at a time."""
        framer = ReplyFramer()
        ends, before = [], 0
        for piece in pieces:
            at = 0
            while at < len(piece):
                at, ended = framer.scan(piece, at, count)
                self.assertTrue(0 <= ended <= count)
                ends += [before + at] * ended
            before += len(piece)
        return ends

    def test_each(self) -> None:
        for reply in REPLIES:
            for pieces in many_cuts(reply):
                self.assertEqual(self.ends_of(pieces, 1), [len(reply)], pieces)

    def test_many(self) -> None:
        generator = random.Random(7)
        for _ in range(50):
            replies = generator.choices(REPLIES, k=20)
            ends = [sum(map(len, replies[:number])) for number in range(1, 21)]
            stream = b"".join(replies)
            cuts = sorted(generator.choices(range(len(stream)), k=generator.randrange(30)))
            pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
            self.assertEqual(self.ends_of(pieces, 1), ends)
            self.assertEqual(self.ends_of([stream], 20)[-1], ends[-1])

    def test_no_replies(self) -> None:
        for stream in (
            b"hello\r\n",
            b"\r\n",
            b"\n",
            b"+OK\n",
            b"$-2\r\n",
            b"$+1\r\n",
            b"$01\r\n",
            b"$1\r\nab\r\n",
            b"$1\r\na\n\r",
            b"!-1\r\n",
            b"%-1\r\n",
            b"$?\r\n",
            b"*?\r\n",
            b"$99999999999999999999999999\r\n",
            b"x" * 100,
            b"*1\r\n" * 200,
        ):
            for pieces in many_cuts(stream):
                self.assertRaises(ReplyError, self.ends_of, pieces, 1)

    def test_as_far_as_it_makes_sense(self) -> None:
        """What comes before nonsense is not lost, and the nonsense is found wherever the stream was cut."""
        for good, bad in (
            (b":1\r\n", b"x\r\n"),
            (b":1\r\n$1\r\na", b"bc"),
            (b":1\r\n", b"$-1x\r\n"),
            (b":1\r\n", b"?" * 30),
        ):
            framer = ReplyFramer()
            self.assertEqual(framer.scan(good + bad, 0, 5), (len(good), 1))
            for _ in range(2):
                self.assertRaises(ReplyError, framer.scan, good + bad, len(good), 4)

    def test_keeps_nothing(self) -> None:
        """Neither of a large string nor of a long line."""
        for begun in (b"$1000000000\r\n", b"+"):
            framer = ReplyFramer()
            framer.scan(begun, 0, 1)
            for _ in range(100):
                self.assertEqual(framer.scan(bytes(100_000), 0, 1), (100_000, 0))
                self.assertTrue(len(framer._header) <= 2)


class EncodeTests(SynchronousTestCase):
    def test_errors_are_one_line(self) -> None:
        self.assertEqual(encode_error("ERR a\r\nb"), b"-ERR a b\r\n")
