"""
From a configuration file to what the service does. All mistakes of the file are reported together.

Paths in the file are relative to the directory that the file is in.
"""

from __future__ import annotations

import os
from typing import Any

from twisted_pipe.core.disk import SpillQuota
from twisted_pipe.net.diskthreads import DiskThreads
from twisted_pipe.net.spillfile import SpillDirectory
from twisted_pipe.service.config.addresses import Addresses
from twisted_pipe.service.config.http_servers import http_servers
from twisted_pipe.service.config.http_settings import HttpSettingsMaker
from twisted_pipe.service.config.http_sites import SiteMaker
from twisted_pipe.service.config.load import load
from twisted_pipe.service.config.message_filters import MessageFilterMaker
from twisted_pipe.service.config.model import ConfigurationFile, HttpServerTable, StreamServerTable
from twisted_pipe.service.config.problems import Problems
from twisted_pipe.service.config.stream_servers import stream_server
from twisted_pipe.service.config.tls import TlsMaker
from twisted_pipe.service.config.upstreams import Upstreams
from twisted_pipe.service.configuration import PipeConfiguration
from twisted_pipe.service.pidfile import PidFile
from twisted_pipe.service.worker_connections import check_worker_connections

__all__ = ["compile_file"]


def compile_file(path: str, reactor: Any) -> PipeConfiguration:
    """
    What the file at C{path} says, checked.

    @param reactor: which the endpoints are to use.
    @raise twisted_pipe.service.config.problems.BadFile: all that is wrong.
    """
    file, problems = load(path)
    folder = os.path.dirname(os.path.abspath(path))

    def resolve(name: str) -> str:
        return os.path.join(folder, name)

    tls = TlsMaker(problems, resolve)
    upstreams = Upstreams(file.upstreams, problems, reactor, tls, folder)
    upstreams.check()
    addresses = Addresses(problems, reactor, folder)
    for table in file.servers:
        addresses.add(table)
    message_filters = MessageFilterMaker(problems, upstreams, reactor, folder)
    settings = HttpSettingsMaker(problems, resolve, message_filters)
    sites = SiteMaker(problems, upstreams, settings, file.defaults.http)
    http = [table for table in file.servers if isinstance(table, HttpServerTable)]
    stream = [table for table in file.servers if isinstance(table, StreamServerTable)]
    servers = [
        *http_servers(addresses, [problems.attempt(sites.make, table) for table in http], sites.defaults, tls),
        *(problems.attempt(stream_server, table, file.defaults.tcp, addresses, upstreams) for table in stream),
    ]
    configuration = PipeConfiguration(
        servers=tuple(each for each in servers if each is not None),
        spill=_spill(file, problems, resolve, reactor),
        pid_file=_pid_file(file, problems, resolve),
        worker_connections=_worker_connections(file, problems, reactor),
        upstreams=tuple(upstreams.http.values()),
        background=tuple(upstreams.background),
        tls=tuple(tls.clients),
    )
    problems.check()
    return configuration


def _spill(file: ConfigurationFile, problems: Problems, resolve: Any, reactor: Any) -> SpillDirectory:
    threads = 2 if file.temp_file_threads is None else file.temp_file_threads
    spill = SpillDirectory(
        resolve(file.temp_path) if file.temp_path is not None else None,
        SpillQuota(file.spill_quota or 0),
        DiskThreads(reactor, threads),
    )
    problems.attempt(problems.checked, ("temp_path",), spill.check)
    return spill


def _pid_file(file: ConfigurationFile, problems: Problems, resolve: Any) -> PidFile | None:
    if file.pid_file is None:
        return None
    pid_file = PidFile(resolve(file.pid_file), problems.name_of(("pid_file",)))
    problems.attempt(problems.checked, ("pid_file",), pid_file.check)
    return pid_file


def _worker_connections(file: ConfigurationFile, problems: Problems, reactor: Any) -> int:
    count = file.worker_connections or 0
    problems.attempt(problems.checked, ("worker_connections",), check_worker_connections, "", count, reactor)
    return count
