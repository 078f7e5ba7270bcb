"""sample-name, a filter for twisted_pipe."""
