"""The bundled filters."""

from twisted_pipe.filters.base import FilterPlugin

upper = FilterPlugin(
    "upper",
    "Upper-cases ASCII letters: the example.",
    "twisted_pipe.filters.upper:Upper",
)
hexdump = FilterPlugin(
    "hexdump",
    "Logs a hexdump of what flows, and passes it on unchanged.",
    "twisted_pipe.filters.hexdump:Hexdump",
)
throttle = FilterPlugin(
    "throttle",
    "Limits the rate of one direction of a connection.",
    "twisted_pipe.filters.throttle:Throttle",
)
pass_through = FilterPlugin(
    "pass",
    "Changes nothing: for measuring what a filter costs at least.",
    "twisted_pipe.filters.pass_through:PassThrough",
)
