"""A scriptable stub of Anthropic's Messages API on loopback: test workers and the Claude CLI without a credential.

In a test::

    async with StubAPI(Script(rules=(Rule(status=529, times=1), Rule(text="hello")))) as api:
        run_the_cli(env=api.environment)
        assert api.statistics().received == 2

From a shell: `python -m responder.stub_api --port 8080 --script script.json`. `responder/stub_api/script.py` lists
what a script can say.
"""

from responder.stub_api.messages import generated_text
from responder.stub_api.record import RecordedRequest, Statistics
from responder.stub_api.script import Answer, Match, Rule, Script, ScriptError, Tool, Usage, load_script
from responder.stub_api.server import StubAPI

__all__ = [
    "Answer",
    "Match",
    "RecordedRequest",
    "Rule",
    "Script",
    "ScriptError",
    "Statistics",
    "StubAPI",
    "Tool",
    "Usage",
    "generated_text",
    "load_script",
]
