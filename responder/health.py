"""How a responder is: a cheap check that spends nothing, and a deep one that runs a real prompt."""

import asyncio

from contract import ErrorCode, ExecuteReply, HealthReply, HealthRequest, RequestError, new_ulid, parse_health_request
from responder.admission import Job
from responder.cli_probe import CLIProbe
from responder.fitness import CLI_PROBLEM
from responder.service import Service

_DEEP_PROMPT = 'Say "healthy" in one word'
_DEEP_TIMEOUT_S = 60.0


class Health:
    """Answers health requests.

    Args:
        service: Whose slots and runs are reported.
        probe: Asks the CLI.
        version: Of claude-nats.
    """

    def __init__(self, service: Service, probe: CLIProbe, version: str) -> None:
        self.service = service
        self._probe = probe
        self._version = version
        self._prompting: asyncio.Task[ExecuteReply] | None = None

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
        cli_version = await self._probe.version()
        problem = problem or (None if cli_version else CLI_PROBLEM) or self.service.fitness.reason
        deep = None
        if request.deep and problem is None:
            reply = await self._shared_prompt()
            deep = reply.success
            problem = None if reply.success else f"{reply.code}: {reply.error}"
        service, standby = self.service, self.service.execution.standby
        return HealthReply(
            status="unhealthy" if problem else "healthy",
            responder=service.answers.responder,
            version=self._version,
            cli_available=cli_version is not None,
            cli_version=cli_version,
            slots=service.slots.count,
            in_flight=service.slots.in_flight,
            backlog=service.slots.backlog,
            standby=0 if standby is None else standby.ready,
            kept=0 if standby is None else standby.owned,
            expired=service.statistics.expired,
            uptime_s=round(service.statistics.uptime_s(), 3),
            deep=deep,
            reason=problem,
        )

    async def _shared_prompt(self) -> ExecuteReply:
        """Run a prompt, or wait for the one that runs; it is a task of its own, so no asker takes it from others."""
        if self._prompting is None or self._prompting.done():
            self._prompting = asyncio.create_task(self.prompt())
        return await asyncio.shield(self._prompting)

    async def prompt(self) -> ExecuteReply:
        """Run a real one-word prompt."""
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
