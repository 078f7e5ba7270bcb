"""TLS to clients and to upstreams, on pyOpenSSL: certificates by name, client certificates, sessions, reasons in plain words."""
