"""What a listener speaks: net, filters and upstream put together."""
