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
gzip = FilterPlugin(
    "gzip",
    "Compresses with gzip.",
    "twisted_pipe.filters.gzip:Gzip",
)
gunzip = FilterPlugin(
    "gunzip",
    "Decompresses gzip, zlib or raw deflate data.",
    "twisted_pipe.filters.gunzip:Gunzip",
)
zstd = FilterPlugin(
    "zstd",
    "Compresses with zstd.",
    "twisted_pipe.filters.zstd:Zstd",
)
unzstd = FilterPlugin(
    "unzstd",
    "Decompresses zstd.",
    "twisted_pipe.filters.unzstd:Unzstd",
)
brotli = FilterPlugin(
    "brotli",
    "Compresses with brotli (pip install twisted_pipe[brotli]).",
    "twisted_pipe.filters.brotli:Brotli",
)
unbrotli = FilterPlugin(
    "unbrotli",
    "Decompresses brotli (pip install twisted_pipe[brotli]).",
    "twisted_pipe.filters.unbrotli:Unbrotli",
)
substitute = FilterPlugin(
    "substitute",
    "Replaces bytes, or what a regular expression matches.",
    "twisted_pipe.filters.substitute:Substitute",
)
replace_bytes = FilterPlugin(
    "replace-bytes",
    "Replaces single bytes by others, as a table says.",
    "twisted_pipe.filters.replace_bytes:ReplaceBytes",
)
count = FilterPlugin(
    "count",
    "Logs how many bytes have passed, and how long it took.",
    "twisted_pipe.filters.digest:Count",
)
digest = FilterPlugin(
    "digest",
    "Logs a digest of what has passed, such as its SHA-256.",
    "twisted_pipe.filters.digest:Digest",
)
tee = FilterPlugin(
    "tee",
    "Copies what flows to a file, with rotation.",
    "twisted_pipe.filters.tee:Tee",
)
chunked_encode = FilterPlugin(
    "chunked-encode",
    "Encodes a stream in HTTP/1.1 chunks.",
    "twisted_pipe.filters.chunked:ChunkedEncode",
)
chunked_decode = FilterPlugin(
    "chunked-decode",
    "Decodes HTTP/1.1 chunks, strictly.",
    "twisted_pipe.filters.chunked:ChunkedDecode",
)
proxy_protocol = FilterPlugin(
    "proxy-protocol",
    "Tells the upstream who the client is (a request filter).",
    "twisted_pipe.filters.proxy_protocol:ProxyProtocol",
)
