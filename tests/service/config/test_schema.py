"""The JSON Schema: it is what is shipped, takes files that are right, and refuses those that are not."""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from twisted.trial.unittest import SynchronousTestCase

from tests.service.config.case import ROUTE, SERVER
from tests.service.config.test_files import EXAMPLE
from tests.service.config.test_mistakes import TWELVE
from twisted_pipe.service.config.schema import json_schema, schema_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"


class SchemaTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.validator: Any = Draft202012Validator(json_schema())

    def faults(self, text: str) -> list[str]:
        """Where the schema finds something wrong."""
        return sorted(error.json_path for error in self.validator.iter_errors(tomllib.loads(text)))

    def test_is_a_schema(self) -> None:
        Draft202012Validator.check_schema(json_schema())

    def test_is_shipped(self) -> None:
        shipped = files("twisted_pipe.service.config").joinpath("schema.json").read_text()
        self.assertEqual(shipped, schema_text(), "python docs/reference/generate.py writes it")
        self.assertEqual(json.loads(shipped), json_schema())

    def test_what_is_right(self) -> None:
        for text in (EXAMPLE, SERVER + ROUTE, (REFERENCE / "pipe.toml").read_text()):
            self.assertEqual(self.faults(text), [])

    def test_what_is_wrong(self) -> None:
        for text, faults in (
            ("", ["$"]),
            ("x = 1\n" + SERVER + ROUTE, ["$"]),
            ('spill_quota = "1t"\n' + SERVER + ROUTE, ["$.spill_quota"]),
            ('[defaults.http]\nread_timeout = "soon"\n' + SERVER + ROUTE, ["$.defaults.http.read_timeout"]),
            ("[defaults.http]\nbuffering = 'on'\n" + SERVER + ROUTE, ["$.defaults.http.buffering"]),
        ):
            self.assertEqual(self.faults(text), faults, text)
        self.assertNotEqual(self.faults(TWELVE), [])

    def test_servers(self) -> None:
        """What one may say depends on what it speaks; a route has one match and one action."""
        stream = '[[servers]]\nlisten = "tcp:1"\nprotocol = "tcp"\n'
        for text, right in (
            (stream + 'proxy = "a:1"', True),
            (stream, False),
            (stream + 'proxy = "a:1"\nnames = "x"', False),
            (SERVER + '[[servers.routes]]\nprefix = "/"\nrefuse = 404', True),
            (SERVER + '[[servers.routes]]\nprefix = "/"', False),
            (SERVER + '[[servers.routes]]\nprefix = "/"\nrefuse = 404\nproxy = "a:1"', False),
            (SERVER + "[[servers.routes]]\nrefuse = 404", False),
            (SERVER + '[[servers.routes]]\nprefix = "x"\nrefuse = 404', False),
            (SERVER + '[[servers.routes]]\nexact = "x/"\nrefuse = 404', False),
            (SERVER, False),
        ):
            self.assertEqual(self.faults(text) == [], right, text)
