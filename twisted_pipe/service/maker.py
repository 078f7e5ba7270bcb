"""What the plugin of C{twistd pipe} names: its options, and the service they ask for."""

from __future__ import annotations

from twisted.application.service import IService

from twisted_pipe.service.demo import DemoService
from twisted_pipe.service.options import PipeOptions
from twisted_pipe.service.pipe_service import PipeService
from twisted_pipe.service.refusal import one_line_errors

__all__ = ["Options", "makeService"]

Options = PipeOptions


def makeService(options: PipeOptions) -> IService:
    """
    The service that these options ask for. What is wrong with them ends the process with one line, and what is wrong with a
    configuration file with a line for each mistake. So does C{--test} when nothing is wrong.
    """
    from twisted.internet import reactor

    with one_line_errors():
        configuration = options.configuration(reactor)
        if options["test"]:
            print(f"{options['config'] or 'command line'}: configuration is right")
            raise SystemExit(0)
        service = DemoService if options["demo"] else PipeService
        return service(configuration, reactor)
