"""The bundled resolvers."""

from twisted_pipe.upstream.resolver import ResolverPlugin

__all__ = ["dns", "srv", "static"]

static = ResolverPlugin(
    "static",
    "The system is asked once, when the service starts.",
    "twisted_pipe.upstream.static_resolver:StaticResolver",
)
dns = ResolverPlugin(
    "dns",
    "Hosts (A, AAAA), asked for again as their TTL says.",
    "twisted_pipe.upstream.dns_resolver:DnsResolver",
)
srv = ResolverPlugin(
    "srv",
    "Services (SRV), asked for again as their TTL says.",
    "twisted_pipe.upstream.srv_resolver:SrvResolver",
)
