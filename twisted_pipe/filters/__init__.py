"""Bundled filters, one a file, and how filters are found."""
