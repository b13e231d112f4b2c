"""What responders share through JetStream: the records of runs, and the queue of durable work."""

import logging
from dataclasses import dataclass

from contract import Bucket, Subjects, WorkQueue
from responder.assembly import Parts
from responder.durable import ACK_WAIT_S, Durable
from responder.jetstream_records import JetStream, JetStreamRecords, NoJetStreamError
from responder.link import Link, LinkError, Membership
from responder.settings import ResponderSettings

_log = logging.getLogger(__name__)
_CONSUMER = "responders"


@dataclass(frozen=True)
class Shared:
    """What a responder shares with the others.

    Attributes:
        records: Of runs; None where each responder keeps its own.
        queue: Of durable work; None where this one takes none.
    """

    records: JetStreamRecords | None = None
    queue: WorkQueue | None = None


async def share(settings: ResponderSettings, link: Link) -> Shared:
    """Find or make the bucket and the stream.

    Raises:
        LinkError: They are required, and there is no JetStream.
    """
    if settings.jetstream == "off":
        return Shared()
    subjects = Subjects(settings.subject_prefix)
    jetstream = JetStream(link)
    records = queue = None
    try:
        bucket = Bucket(subjects.runs_bucket)
        await jetstream.provide(bucket.stream, bucket.make(settings.keep_results_s, settings.replicas))
        records = JetStreamRecords(jetstream, subjects)
        if settings.durable:
            queue = await _queue(settings, jetstream, subjects)
    except NoJetStreamError as error:
        if settings.jetstream == "required":
            raise LinkError(f"JetStream is required: {error}") from error
        memory = "" if records else "results for idempotency keys are kept in memory and "
        _log.info("%sdurable work is not taken: %s", memory, error)
    return Shared(records, queue)


async def take_durable(parts: Parts, link: Link, queue: WorkQueue) -> tuple[Durable, Membership]:
    """Begin to take durable work; the membership is to be left when that has been stopped."""
    inbox = link.new_inbox()
    durable = Durable(queue, link, inbox, parts.service, parts.service.keyed.claims)
    membership = await link.subscribe(inbox, durable.arrive)
    durable.start()
    return durable, membership


async def _queue(settings: ResponderSettings, jetstream: JetStream, subjects: Subjects) -> WorkQueue:
    queue = WorkQueue(subjects.jobs_stream, subjects.jobs, _CONSUMER)
    await jetstream.provide(queue.stream, queue.make(settings.keep_results_s, settings.replicas))
    await jetstream.provide_consumer(queue.make_consumer(ACK_WAIT_S))
    return queue
