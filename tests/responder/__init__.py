"""Tests of the responder without NATS: pure functions, and real child processes where processes are the point."""
