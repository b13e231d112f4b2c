"""Tests of the stub API: its events as pure functions, its server over loopback."""
