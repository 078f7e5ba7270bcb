"""The name of the filter, for C{--filter rot13}."""

from twisted_pipe.filters.base import FilterPlugin

rot13 = FilterPlugin("rot13", "Turns ASCII letters round the alphabet.", "rot13_filter.filter:Rot13")
