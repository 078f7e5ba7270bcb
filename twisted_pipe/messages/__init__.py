"""What message filters see of HTTP: a request, its response, their fields, and an answer of the filter's own. Pure."""
