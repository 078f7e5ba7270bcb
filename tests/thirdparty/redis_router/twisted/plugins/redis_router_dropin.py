"""The name of the protocol, for C{--protocol redis}."""

from twisted_pipe.proxies.protocol import ProtocolPlugin

redis = ProtocolPlugin(
    "redis",
    "Redis: passes each command on to the server that has its keys.",
    "redis_router.protocol:RedisRouter",
)
