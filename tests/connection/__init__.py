"""Tests of the connection that both sides stand on."""
