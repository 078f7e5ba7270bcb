"""twistd pipe: the only rooms that read argv and files."""
