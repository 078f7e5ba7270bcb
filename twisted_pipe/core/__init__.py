"""The policy of the pipe, pure: no Twisted, socket, os or time."""
