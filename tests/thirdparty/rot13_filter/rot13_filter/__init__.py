"""A filter for twisted_pipe: letters turned round the alphabet."""
