"""Tests of the wire: pure functions, no sockets."""
