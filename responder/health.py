"""How a responder is: a cheap check that spends nothing, and a deep one that runs a real prompt."""

import asyncio
from dataclasses import dataclass

from contract import ErrorCode, ExecuteReply, HealthReply, HealthRequest, RequestError, new_ulid, parse_health_request
from responder.admission import Job
from responder.cli_probe import CLIProbe
from responder.service import Service

_DEEP_PROMPT = 'Say "healthy" in one word'
_DEEP_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Health:
    """Answers health requests.

    Attributes:
        service: Whose slots and runs are reported.
        probe: Asks the CLI.
        version: Of claude-nats.
    """

    service: Service
    probe: CLIProbe
    version: str

    async def answer(self, body: bytes) -> HealthReply:
        """Answer a health request; one that cannot be read is answered as unhealthy, with the reason."""
        try:
            request = parse_health_request(body)
        except RequestError as error:
            return await self.check(HealthRequest(), str(error))
        return await self.check(request)

    async def check(self, request: HealthRequest, problem: str | None = None) -> HealthReply:
        """Look how this responder is.

        Args:
            request: How closely to look.
            problem: What is known to be wrong already.
        """
        cli_version = await self.probe.version()
        problem = problem or (None if cli_version else "the CLI is missing or does not run")
        deep = None
        if request.deep and problem is None:
            reply = await self._run_a_prompt()
            deep = reply.success
            problem = None if reply.success else f"{reply.code}: {reply.error}"
        service = self.service
        return HealthReply(
            status="unhealthy" if problem else "healthy",
            responder=service.answers.responder,
            version=self.version,
            cli_available=cli_version is not None,
            cli_version=cli_version,
            slots=service.slots.count,
            in_flight=service.slots.in_flight,
            backlog=service.slots.backlog,
            uptime_s=round(service.statistics.uptime_s(), 3),
            deep=deep,
            reason=problem,
        )

    async def _run_a_prompt(self) -> ExecuteReply:
        job = Job(
            request_id=new_ulid(),
            prompt=_DEEP_PROMPT,
            arguments=self.service.admission.policy.arguments(None),
            cwd=None,
            deadline=asyncio.get_running_loop().time() + _DEEP_TIMEOUT_S,
        )
        try:
            return await self.service.run(job)
        except RequestError as error:
            return self.service.answers.refusal(job.request_id, ErrorCode.CWD_REFUSED, str(error))
