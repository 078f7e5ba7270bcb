"""What the plugin of C{twistd pipe} names: its options, and the service they ask for."""

from __future__ import annotations

from typing import Any

from twisted.application.service import IService

from twisted_pipe.service.access_log import LogFiles
from twisted_pipe.service.configuration import PipeConfiguration, ServiceParts
from twisted_pipe.service.demo import DemoService
from twisted_pipe.service.options import PipeOptions
from twisted_pipe.service.pipe_service import PipeService
from twisted_pipe.service.refusal import one_line_errors
from twisted_pipe.service.stream_server import StreamServer

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
            _try_protocols(configuration, reactor)
            print(f"{options['config'] or 'command line'}: configuration is right")
            raise SystemExit(0)
        service = DemoService if options["demo"] else PipeService
        return service(configuration, reactor)


def _try_protocols(configuration: PipeConfiguration, reactor: Any) -> None:
    """
    Build what plugins speak, as the start does. That of http is not: it opens the access logs, and no plugin is built for it.

    @raise BadConfiguration: one cannot be built.
    """
    parts = ServiceParts(reactor=reactor, spill=configuration.spill, logs=LogFiles(reactor))
    for server in configuration.servers:
        if isinstance(server, StreamServer) and server.group is not None:
            server.build(parts)
