# mask.py
from twisted_pipe.filters.base import PipeFilter


class Mask(PipeFilter):
    """Puts a star in the place of every "@"."""

    def received(self, data):
        yield bytes(data).replace(b"@", b"*")
