"""Where a proxy finds its servers."""
