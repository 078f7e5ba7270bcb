"""The only rooms that touch a descriptor."""
