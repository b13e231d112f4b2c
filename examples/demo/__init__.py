"""Everything on one machine: NATS, two responders, a worker that asks three questions, and the trace of it."""
