"""The answers to `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`, by which `nats micro ls|info|stats` shows the fleet.

Source: ADR-32 (NATS micro services). The client library's own micro service is not used, because it handles one message
at a time for each endpoint and sends unexpected exception text to callers.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from contract import QUEUE_GROUP, SERVICE_NAME, Subjects
from responder.fitness import Fitness
from responder.slots import Slots
from responder.statistics import Statistics

VERBS = ("PING", "INFO", "STATS")
_TYPE = "io.nats.micro.v1.{}_response"


@dataclass(frozen=True)
class Micro:
    """Describes one responder to NATS's service discovery.

    Attributes:
        responder: Its id.
        version: Of claude-nats.
        subjects: Where it listens.
        slots: Its permits to run.
        statistics: What it has done.
        fitness: Whether it takes work.
    """

    responder: str
    version: str
    subjects: Subjects
    slots: Slots
    statistics: Statistics
    fitness: Fitness = field(default_factory=Fitness)

    def subjects_of(self, verb: str) -> tuple[str, ...]:
        """Give the subjects on which a verb is asked: of all services, of ours, of this instance."""
        return (
            f"$SRV.{verb}",
            f"$SRV.{verb}.{SERVICE_NAME}",
            f"$SRV.{verb}.{SERVICE_NAME}.{self.responder}",
        )

    def answer(self, verb: str) -> bytes:
        """Give the answer to one of `VERBS`."""
        more: dict[str, dict[str, Any]] = {"PING": {}, "INFO": self._info(), "STATS": self._stats()}
        identity = {
            "type": _TYPE.format(verb.lower()),
            "name": SERVICE_NAME,
            "id": self.responder,
            "version": self.version,
            "metadata": {"slots": str(self.slots.count)},
        }
        return json.dumps(identity | more[verb]).encode()

    def _endpoint(self) -> dict[str, Any]:
        return {"name": "execute", "subject": self.subjects.execute, "queue_group": QUEUE_GROUP}

    def _info(self) -> dict[str, Any]:
        return {"description": "runs the Claude CLI", "endpoints": [{**self._endpoint(), "metadata": {}}]}

    def _stats(self) -> dict[str, Any]:
        done = self.statistics
        state = {
            "in_flight": self.slots.in_flight,
            "backlog": self.slots.backlog,
            "expired": done.expired,
            "unfit": self.fitness.reason,
        }
        numbers = {
            "num_requests": done.requests,
            "num_errors": done.errors,
            "last_error": done.last_error,
            "processing_time": done.processing_ns,
            "average_processing_time": done.processing_ns // done.requests if done.requests else 0,
            "data": state,
        }
        started = done.started.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"started": started, "endpoints": [{**self._endpoint(), **numbers}]}
