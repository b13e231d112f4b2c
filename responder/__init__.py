"""The service that runs the Claude CLI for requesters: members of one NATS queue group."""
