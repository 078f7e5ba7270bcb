"""The configuration file: its shape, what reads it, and what is made of it."""
