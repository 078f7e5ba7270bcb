"""Hashes of passwords, against those that other programs have made of them."""

from __future__ import annotations

import bcrypt
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.filters.messages.password_hashes import apr1, is_known, matches, sha_crypt

#: Password and hash. From https://www.akkadia.org/drepper/SHA-crypt.txt; the others by openssl passwd 3.0 and glibc 2.36.
KNOWN = (
    (
        "Hello world!",
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
    ),
    (
        "Hello world!",
        "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
    ),
    ("Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
    ("Hello world!", "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA"),
    ("secret", "$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG."),
    ("secret", "$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM."),
    ("secret", "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/"),
    ("päss wörd länger als sechzehn Zeichen", "$apr1$ab$LuJYHWMOdi2qbbxX8AYjc0"),
    ("secret", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="),
    ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
)


class KnownTests(SynchronousTestCase):
    def test_the_right_password_matches_and_no_other(self) -> None:
        for password, stored in KNOWN:
            right, text = password.encode(), stored.encode()
            self.assertTrue(is_known(text), stored)
            self.assertTrue(matches(right, text), stored)
            for wrong in (b"", right + b"x", right[:-1], right.swapcase()):
                self.assertFalse(matches(wrong, text), (wrong, stored))

    def test_one_bit_of_a_hash_makes_it_another_one(self) -> None:
        for password, stored in KNOWN:
            other = stored[:-3] + ("A" if stored[-3] != "A" else "B") + stored[-2:]
            self.assertFalse(matches(password.encode(), other.encode()), other)

    def test_what_is_none_of_them_is_unknown(self) -> None:
        """Plain text and the old DES first of all."""
        for stored in (
            "",
            "secret",
            "{PLAIN}secret",
            "xxj31ZMTZzkVA",
            "$1$abc$x",
            "$2y$03$x",
            "$6$",
            "$6$a$b",
            "{SHA}x",
            "$y$j9T$x",
        ):
            self.assertFalse(is_known(stored.encode()), stored)
            self.assertRaises(ValueError, matches, b"secret", stored.encode())

    def test_a_nul_byte_matches_nothing(self) -> None:
        """In C the password would end there."""
        for password, stored in KNOWN:
            self.assertFalse(matches(password.encode() + b"\0", stored.encode()))

    def test_rounds_are_bounded(self) -> None:
        self.assertEqual(sha_crypt(b"a", b"b", True, 1), sha_crypt(b"a", b"b", True, 1000))
        self.assertNotEqual(sha_crypt(b"a", b"b", True, 1001), sha_crypt(b"a", b"b", True, 1000))
        self.assertEqual(sha_crypt(b"a", b"b", True), sha_crypt(b"a", b"b", True, 5000))

    def test_of_long_passwords_bcrypt_sees_the_beginning(self) -> None:
        """As it always did, though its library calls it an error now."""
        stored = bcrypt.hashpw(b"p" * 72, bcrypt.gensalt(4))
        self.assertTrue(matches(b"p" * 200, stored))
        self.assertFalse(matches(b"p" * 71, stored))

    @settings(max_examples=20)
    @given(st.binary(max_size=200), st.sampled_from([b"", b"a", b"salt"]))
    def test_any_password_has_a_hash(self, password: bytes, salt: bytes) -> None:
        self.assertEqual(len(sha_crypt(password, salt, True, 1000)), 86)
        self.assertEqual(len(sha_crypt(password, salt, False, 1000)), 43)
        self.assertEqual(len(apr1(password, salt)), 22)
