"""
HTTP reverse proxies of Python, for comparison: C{web_peers.py aiohttp|twisted PORT UPSTREAM LOG}.

The one is what aiohttp's users write: streaming both ways, one client session for all, on uvloop. The other is Twisted's
C{ReverseProxyResource} on stock epoll. Each writes the access log of its framework to LOG.
"""

from __future__ import annotations

import logging
import sys

PORT, UPSTREAM, LOG = int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]


def on_aiohttp() -> None:
    import asyncio

    import uvloop
    from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, hdrs, web
    from multidict import CIMultiDict, CIMultiDictProxy
    from yarl import URL

    hop_by_hop = (
        hdrs.CONNECTION,
        hdrs.KEEP_ALIVE,
        hdrs.PROXY_AUTHENTICATE,
        hdrs.PROXY_AUTHORIZATION,
        hdrs.TE,
        hdrs.TRAILER,
        hdrs.TRANSFER_ENCODING,
        hdrs.UPGRADE,
    )

    def end_to_end(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
        kept = headers.copy()
        for name in hop_by_hop:
            kept.popall(name, None)
        return kept

    async def main() -> None:
        session = ClientSession(
            connector=TCPConnector(limit=0),
            timeout=ClientTimeout(total=None),
            auto_decompress=False,
            cookie_jar=DummyCookieJar(),
        )

        async def pass_on(request: web.Request) -> web.StreamResponse:
            headers = end_to_end(request.headers)
            headers.add(hdrs.X_FORWARDED_FOR, request.remote or "")
            async with session.request(
                request.method,
                URL(f"http://127.0.0.1:{UPSTREAM}{request.raw_path}", encoded=True),
                headers=headers,
                data=request.content if request.body_exists else None,
                allow_redirects=False,
            ) as upstream:
                response = web.StreamResponse(
                    status=upstream.status, reason=upstream.reason, headers=end_to_end(upstream.headers)
                )
                await response.prepare(request)
                async for part in upstream.content.iter_any():
                    await response.write(part)
                await response.write_eof()
                return response

        log = logging.getLogger("aiohttp.access")
        log.setLevel(logging.INFO)
        log.propagate = False
        log.addHandler(logging.FileHandler(LOG))
        runner = web.ServerRunner(web.Server(pass_on, access_log=log))  # type: ignore[arg-type]
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", PORT, backlog=4096).start()
        await asyncio.Event().wait()

    uvloop.run(main())


def on_twisted() -> None:
    from twisted.internet import epollreactor

    epollreactor.install()
    from twisted.internet import reactor
    from twisted.web.proxy import ReverseProxyResource
    from twisted.web.server import Site

    site = Site(ReverseProxyResource("127.0.0.1", UPSTREAM, b""), logPath=LOG)
    reactor.listenTCP(PORT, site, backlog=4096, interface="127.0.0.1")  # type: ignore[arg-type]
    reactor.run()


if __name__ == "__main__":
    {"aiohttp": on_aiohttp, "twisted": on_twisted}[sys.argv[1]]()
