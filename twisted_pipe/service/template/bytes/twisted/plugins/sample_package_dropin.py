"""The name of the filter, for C{--filter sample-name}."""

from twisted_pipe.filters.base import FilterPlugin

plugin = FilterPlugin("sample-name", "Puts a prefix before every line.", "sample_package.filter:SampleClass")
