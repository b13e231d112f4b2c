"""Where a responder keeps the records of runs: in JetStream where the server has it, in memory otherwise."""

import logging

from contract import Bucket, Subjects
from responder.jetstream_records import JetStream, JetStreamRecords, NoJetStreamError
from responder.link import Link, LinkError
from responder.records import Records
from responder.settings import ResponderSettings

_log = logging.getLogger(__name__)


async def shared_records(settings: ResponderSettings, link: Link) -> Records | None:
    """Give the records that all responders share; None where each keeps its own.

    Raises:
        LinkError: They are required, and there is no JetStream.
    """
    if settings.jetstream == "off":
        return None
    subjects = Subjects(settings.subject_prefix)
    bucket = Bucket(subjects.runs_bucket)
    jetstream = JetStream(link)
    try:
        await jetstream.provide(bucket.stream, bucket.make(settings.keep_results_s, settings.replicas))
    except NoJetStreamError as error:
        if settings.jetstream == "required":
            raise LinkError(f"JetStream is required: {error}") from error
        _log.info("results for idempotency keys are kept in memory: %s", error)
        return None
    return JetStreamRecords(jetstream, subjects)
