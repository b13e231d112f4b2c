"""Tests over the whole hop: a real nats-server, real responders, the real CLI against the stub API."""
