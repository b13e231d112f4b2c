"""What the demo prints."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from examples.demo.processes import Running
from examples.demo.settings import DemoSettings
from examples.demo.span import Span
from examples.demo.trace_tree import trace_tree
from examples.demo.worker import Answer

_STUB = "the Messages API here is a stub on loopback: no tokens are spent; LIVE=1 uses the real one"
_LIVE = "LIVE=1: the real Messages API, with your account: tokens are spent"


def print_intro(console: Console, settings: DemoSettings) -> None:
    """Say what is about to run, and whether it costs anything."""
    console.print(_LIVE if settings.is_live else _STUB, style="bold", soft_wrap=True, highlight=False)
    console.print(f"claude: {settings.cli}", style="dim", soft_wrap=True, markup=False, highlight=False)


def print_answers(console: Console, answers: Iterable[Answer]) -> None:
    """Print what came back for each question, from whom, after how long and at what cost."""
    table = Table(title="three questions at once, two responders with one slot each", title_justify="left")
    table.add_column("question", ratio=2)
    table.add_column("answer", ratio=3)
    table.add_column("responder", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("cost", justify="right", no_wrap=True)
    for answer in answers:
        table.add_row(Text(answer.question), *_outcome(answer))
    console.print(table)


def print_traces(console: Console, spans: Sequence[Span], *, is_complete: bool) -> None:
    """Print all traces as trees on one time axis."""
    console.print("\nwhat the collector saw: a trace for each question, on one time axis", style="bold")
    console.print(trace_tree(spans))
    if not is_complete:
        console.print("some spans of the CLI did not arrive in time", style="yellow")


def print_logs(console: Console, responders: Iterable[Running]) -> None:
    """Print the end of the responders' logs: after a failure they say more."""
    for responder in responders:
        console.print(f"\n{responder.name}:", style="bold")
        console.print("\n".join(responder.last_lines), markup=False, highlight=False, soft_wrap=True)


def _outcome(answer: Answer) -> tuple[Text, ...]:
    seconds = Text(f"{answer.seconds:.1f} s")
    if answer.reply is None:
        return Text(answer.error, style="red"), Text("-"), seconds, Text("-")
    cost = answer.reply.cost_usd
    return Text(answer.reply.text), Text(answer.reply.responder), seconds, Text("-" if cost is None else f"${cost:.4f}")
