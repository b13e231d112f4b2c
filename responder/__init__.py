"""The service that runs the Claude CLI for requesters."""
