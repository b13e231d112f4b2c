"""What a NATS server says when it refuses something, and the errors that follow from it. No NATS here."""

import re

from requester.errors import NotPermittedError, RequesterError

_VIOLATION = re.compile(r'permissions violation for (publish|subscription) to "([^"]+)"', re.IGNORECASE)
_CREDENTIALS = re.compile(r"authorization (violation|failed)|authentication|user credentials", re.IGNORECASE)


def are_credentials_refused(text: str) -> bool:
    """Say whether a server's text refuses who we are."""
    return _CREDENTIALS.search(text) is not None


def violations(text: str) -> list[tuple[str, str]]:
    """Give the permission violations that a server's text tells of.

    Returns:
        `publish` or `subscription`, and the subject, both in lower case: nats-py lowers what the server says.
    """
    return [(action.lower(), subject.lower()) for action, subject in _VIOLATION.findall(text)]


def publish_forbidden(subject: str) -> RequesterError:
    """Give the error for a request that the server did not take; nothing ran."""
    return NotPermittedError(f"NATS does not let this requester publish to {subject}")


def inbox_forbidden(*, executed: bool | None) -> RequesterError:
    """Give the error for replies that this requester may not hear."""
    return NotPermittedError(
        "NATS does not let this requester listen for replies (see CLAUDE_REQUESTER_INBOX_PREFIX)", executed=executed
    )
