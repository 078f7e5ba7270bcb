"""The bundled protocols."""

from twisted_pipe.proxies.protocol import TCP as tcp

__all__ = ["tcp"]
