"""Message filters: their base, how they are found and run, and one bundled filter a file."""
