"""Real parts for tests: a nats-server, responders as processes, conditions to await."""
