"""The reference page of the configuration file."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_pipe.proxies.stream_variables import STREAM_VARIABLES
from twisted_pipe.service.config import model
from twisted_pipe.service.config.keys import keys_of
from twisted_pipe.service.config.manual import configuration_page
from twisted_pipe.service.config.places import places_of


class ManualTests(SynchronousTestCase):
    def test_every_key_of_every_table_has_its_row(self) -> None:
        rows = [line for line in configuration_page("").splitlines() if line.startswith("| `")]
        for table in set(places_of(model.ConfigurationFile)) - {model.DefaultsTable}:  # whose two keys are headings
            for name, described in keys_of(table).items():
                help_text = described.help.replace("|", "\\|")
                wanted = [row for row in rows if row.startswith(f"| `{name}` |") and row.endswith(f"| {help_text} |")]
                self.assertTrue(wanted, f"{table.__name__}.{name}")

    def test_every_variable_of_a_key_for_tcp_has_its_row_once(self) -> None:
        lines = configuration_page("").splitlines()
        for each in STREAM_VARIABLES:
            self.assertEqual(sum(line.startswith(f"| `${each.name}` |") for line in lines), 1, each.name)
