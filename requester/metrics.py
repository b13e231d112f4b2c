"""The requester's metrics, through the OpenTelemetry API alone."""

from opentelemetry.metrics import MeterProvider, get_meter

from requester.breaker import CircuitState

_INSTRUMENTATION = "claude-nats.requester"
_STATES = {CircuitState.CLOSED: 0, CircuitState.HALF_OPEN: 1, CircuitState.OPEN: 2}


class Metrics:
    """Counts what the requester does.

    Args:
        subject: Where its requests go.
        provider: Where metrics go; None for the process's own provider, also one that is set later.
    """

    def __init__(self, subject: str, provider: MeterProvider | None = None) -> None:
        meter = get_meter(_INSTRUMENTATION, meter_provider=provider)
        self._subject = {"messaging.destination.name": subject}
        self._attempts = meter.create_counter(
            "claude_cli.requester.attempts", unit="{attempt}", description="attempts that ended, by error.type"
        )
        self._circuit = meter.create_gauge(
            "claude_cli.requester.circuit.state", description="0 closed, 1 half-open, 2 open"
        )

    def attempt_ended(self, error_type: str | None) -> None:
        """Count an attempt, and the code of its error if it has one."""
        more = {} if error_type is None else {"error.type": error_type}
        self._attempts.add(1, {**self._subject, **more})

    def circuit_changed(self, state: CircuitState) -> None:
        """Tell whether requests are let through."""
        self._circuit.set(_STATES[state], self._subject)
