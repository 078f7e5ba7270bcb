"""What may stand before a stream, as a language: a PROXY header, a TLS ClientHello. Pure: no Twisted, no socket, no clock."""
