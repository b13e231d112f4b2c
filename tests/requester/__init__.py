"""Tests of `requester/`: pure ones, and some against a real nats-server with a small fake responder."""
