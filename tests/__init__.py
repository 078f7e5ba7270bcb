"""
The project's tests, mirrored on the package.

What hypothesis does in them is said once, here: the same examples in every run, on every machine, however slow. Those who look for
other ones say so, as C{TWISTED_PIPE_STATEFUL_EXAMPLES} does.
"""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "repeatable",
    derandomize=True,
    database=None,
    deadline=None,  # of one example: a machine that does something else meanwhile is not a defect
    suppress_health_check=list(HealthCheck),  # they measure time, too
)
settings.load_profile("repeatable")
