"""What the plugins of all kinds have in common: how they are declared, configured, found and described."""
