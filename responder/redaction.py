"""What may be said in a reply or a log: one line, without secrets and without the prompt."""

import re
from collections.abc import Iterable

DETAIL_MAX_BYTES = 2048
_MASK = "***"
_SECRET_PATTERNS = (
    re.compile(r"sk-ant-[A-Za-z0-9_-]+"),
    re.compile(r"(?i)\bbearer\s+[A-Za-z0-9._~+/=-]+"),
    re.compile(r"\bS[ACNOUX][A-Z2-7]{56}\b"),  # an nkey's seed
    re.compile(r"(?<=://)[^/\s@]+@"),  # user-info in a URL
)
_WORD = re.compile(r"[\w-]{8,}")
_PROMPT_SEARCHED = 1024 * 1024


def redact(text: str, secrets: Iterable[str], prompt: str = "") -> str:
    """Give a text of the CLI or the API so that people may read it.

    Args:
        text: What was said.
        secrets: Values to mask wherever they stand.
        prompt: What the caller wrote; words of it of eight letters or more are masked too.

    Returns:
        One line of at most `DETAIL_MAX_BYTES`.
    """
    line = " ".join(text.encode()[: 2 * DETAIL_MAX_BYTES].decode(errors="ignore").split())
    for secret in secrets:
        line = line.replace(secret, _MASK)
    for pattern in _SECRET_PATTERNS:
        line = pattern.sub(_MASK, line)
    searched = prompt[:_PROMPT_SEARCHED]
    line = _WORD.sub(lambda word: _MASK if word[0] in searched else word[0], line)
    return line.encode()[:DETAIL_MAX_BYTES].decode(errors="ignore")
