"""The bundled balancers."""

from twisted_pipe.upstream.balancer import BalancerPlugin
from twisted_pipe.upstream.group import ROUND_ROBIN as round_robin

__all__ = ["least_connections", "round_robin"]

least_connections = BalancerPlugin(
    "least-connections",
    "The server with the fewest connections.",
    "twisted_pipe.upstream.least_connections:LeastConnections",
)
