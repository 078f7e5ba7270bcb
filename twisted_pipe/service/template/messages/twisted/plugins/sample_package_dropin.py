"""The name of the filter, for C{message_filters = ["sample-name"]}."""

from twisted_pipe.filters.messages.base import MessageFilterPlugin

plugin = MessageFilterPlugin(
    "sample-name",
    "Hides what lies below a path, and what upstreams say of themselves.",
    "sample_package.filter:SampleClass",
)
