"""HTTP/1 as a language: heads, framing, targets, templates. Pure: no Twisted, no socket, no clock."""
