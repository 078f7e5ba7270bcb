"""A filter for twisted_pipe: a prefix before every line."""
