"""The bundled balancers."""

from twisted_pipe.upstream.balancer import BalancerPlugin
from twisted_pipe.upstream.group import ROUND_ROBIN as round_robin

__all__ = ["ip_hash", "key_hash", "least_connections", "random_of_two", "round_robin"]

least_connections = BalancerPlugin(
    "least-connections",
    "The server with the fewest connections.",
    "twisted_pipe.upstream.least_connections:LeastConnections",
)
key_hash = BalancerPlugin("hash", "The same key, the same server.", "twisted_pipe.upstream.key_hash:KeyHash")
ip_hash = BalancerPlugin("ip-hash", "The same client network, the same server.", "twisted_pipe.upstream.ip_hash:IpHash")
random_of_two = BalancerPlugin(
    "random", "Of two at random, the one with fewer connections.", "twisted_pipe.upstream.random_of_two:RandomOfTwo"
)
