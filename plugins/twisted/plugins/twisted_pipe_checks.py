"""The bundled health checks."""

from twisted_pipe.upstream.health_check import CheckPlugin

__all__ = ["http", "tcp"]

http = CheckPlugin("http", "A request is answered as it should be.", "twisted_pipe.upstream.http_check:HttpCheck")
tcp = CheckPlugin(
    "tcp", "Connections are taken, and answered as they should be.", "twisted_pipe.upstream.tcp_check:TcpCheck"
)
