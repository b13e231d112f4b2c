"""What the worker asks, and what the stub answers when the real API is not asked."""

from responder.stub_api import Match, Rule, Script, Usage

_STUBBED = {
    "In one sentence: what is a queue group in NATS?": Rule(
        text="Subscribers that share a name; each message goes to exactly one of them.",
        delay_s=0.6,
        usage=Usage(input_tokens=41, output_tokens=17),
    ),
    "Name one prime number above one hundred.": Rule(
        text="101 is the first of them.",
        delay_s=0.3,
        usage=Usage(input_tokens=38, output_tokens=9),
    ),
    "In one sentence: why does a span have a parent?": Rule(
        text="So that steps taken by different programs can be put into one tree.",
        delay_s=0.8,
        usage=Usage(input_tokens=42, output_tokens=16),
    ),
}

QUESTIONS = tuple(_STUBBED)


def stub_script() -> Script:
    """Give the stub's answers: one for each question, after the time in which a model would think."""
    return Script(
        rules=tuple(rule.model_copy(update={"match": Match(prompt=question)}) for question, rule in _STUBBED.items())
    )
