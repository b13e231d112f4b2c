"""The Claude CLI from a Celery task: `NATS_URL=nats://127.0.0.1:4222 celery -A examples.celery_task worker`.

A task is a plain function in a forked process, hence `execute_sync`: each process makes its own NATS connection on its
first request and keeps it.
"""

from typing import Any

from celery import Celery  # type: ignore[import-not-found] # Celery is not among this project's own packages

from requester import RequesterError, execute_sync

app = Celery("examples", broker="redis://127.0.0.1:6379/0")


# Celery's limits are longer than the request's own timeout, which ends the run and says why.
@app.task(bind=True, max_retries=3, soft_time_limit=140, time_limit=150)  # type: ignore[untyped-decorator] # likewise
def summarise(self: Any, text: str) -> str:
    """Give a one-sentence summary of a text."""
    try:
        return execute_sync(f"Summarise in one sentence:\n\n{text}", timeout=120).text
    except RequesterError as error:
        # `execute_sync` has already tried elsewhere, as far as that is safe. Celery's retry is for later. Where the CLI
        # ran, or nobody knows, a retry may pay for the same run twice: that is for a person to decide.
        if error.retryable and error.executed is False:
            raise self.retry(exc=error, countdown=error.retry_after_s or 30) from error
        raise
