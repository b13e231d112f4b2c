"""What a CLI is started for ahead of its request, and what can only run cold. Pure.

A process that was started ahead reads its prompts as stream-json and prints its events as such; of these the output is
made that a cold CLI prints for the same arguments (measured on CLI 2.1.197: the result event is the object of `json`
but for ids and times, and the API receives the same request).
"""

from dataclasses import dataclass

from responder.admission import Job
from responder.arguments import Arguments

_OUTPUT_FORMAT = "--output-format"
_LINES = "stream-json"
_PARTIAL = "--include-partial-messages"
# Of one session, or of one that may have grown since: whoever was started before would read something else.
_OF_A_SESSION = frozenset(("--session-id", "--resume", "--continue", "--fork-session", "--name"))
# Over several requests a budget adds up, and so does what a server of tools or another model remembers (the first
# measured on CLI 2.1.197).
_OF_ONE_REQUEST = frozenset(("--max-budget-usd", "--mcp-config", "--fallback-model"))


@dataclass(frozen=True)
class Mold:
    """What a process is started for: requests with the same one can be served by it.

    Attributes:
        argv: Its arguments.
        is_stream: Whether its events are the output, or the result alone.
    """

    argv: tuple[str, ...]
    is_stream: bool

    @property
    def is_for_many(self) -> bool:
        """Whether these arguments mean the same for each of several requests to one process."""
        return _OF_ONE_REQUEST.isdisjoint(self.argv)


def mold_of(job: Job) -> Mold | None:
    """Say for what a process could have been started ahead to serve a job; None where only a cold one can.

    A named directory changes between the start and the request, and with it what the CLI tells the API of it. A prompt
    of nothing but white space, to which JavaScript counts the byte order mark, is an error of the command line, which
    a stream does not know.
    """
    is_blank = not job.prompt.replace("\ufeff", "").strip()
    return None if is_blank or job.cwd is not None else mold_of_arguments(job.arguments)


def mold_of_arguments(arguments: Arguments) -> Mold | None:
    """Say for what a process could be started ahead to serve requests with these arguments; None where none could.

    stream-json without `--verbose` is an error of the command line, and so are partial messages without stream-json;
    `json` with `--verbose` prints all events as one array.
    """
    argv = arguments.argv
    if not _OF_A_SESSION.isdisjoint(argv):
        return None
    place = argv.index(_OUTPUT_FORMAT) + 1
    is_stream = argv[place] == _LINES
    if is_stream != ("--verbose" in argv) or (_PARTIAL in argv and not is_stream):
        return None
    streaming = (_LINES,) if is_stream else (_LINES, "--verbose")
    return Mold((*argv[:place], *streaming, "--input-format", _LINES, *argv[place + 1 :]), is_stream)
