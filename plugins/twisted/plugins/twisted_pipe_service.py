"""The service, for C{twistd pipe}."""

from twisted.application.service import ServiceMaker

pipe = ServiceMaker(
    "twisted_pipe",
    "twisted_pipe.service.maker",
    "A buffering TCP and HTTP reverse proxy with filter plugins.",
    "pipe",
)
