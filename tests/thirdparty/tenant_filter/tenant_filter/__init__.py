"""A message filter for twisted_pipe: tenants by their API keys, from a database."""
