"""A protocol for twisted_pipe: several Redis servers as one."""
