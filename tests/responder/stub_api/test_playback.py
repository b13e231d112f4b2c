"""Which rule answers which request."""

from responder.stub_api.playback import Playback
from responder.stub_api.request import MessagesRequest
from responder.stub_api.script import Match, Rule, Script, Tool

TOOL = Tool(name="Bash", input={"command": "echo hi"})


def _request(prompt: str = "hello", *results: str, model: str = "claude-opus-4-8") -> MessagesRequest:
    return MessagesRequest(model=model, stream=True, prompt=prompt, tool_result_ids=results)


def _texts(playback: Playback, *prompts: str) -> list[str]:
    return [playback.reply(_request(prompt)).text for prompt in prompts]


def test_rules_are_used_up_in_order() -> None:
    """A rule serves its number of requests, then the next one does, for ever when it has none."""
    playback = Playback(Script(rules=(Rule(text="a", times=2), Rule(text="b", times=1), Rule(text="c"))))
    assert _texts(playback, *"vwxyz") == ["a", "a", "b", "c", "c"]


def test_a_rule_that_does_not_match_is_passed_over_and_not_used_up() -> None:
    """Prompt and model pick the rule; what does not fit costs it nothing."""
    rules = (Rule(match=Match(prompt="list"), text="a", times=1), Rule(match=Match(model="*haiku*"), text="b"))
    playback = Playback(Script(rules=rules))
    assert _texts(playback, "other", "list it", "list it")[1] == "a"
    assert playback.reply(_request(model="claude-haiku-4")).text == "b"


def test_what_no_rule_takes_gets_the_default() -> None:
    """An empty script and a used-up one answer with the size of the prompt."""
    assert _texts(Playback(Script()), "four") == ["The stub API read a prompt of 4 bytes."]
    assert "4 bytes" in _texts(Playback(Script(rules=(Rule(text="a", times=1),))), "one", "four")[1]


def test_the_result_of_a_tool_goes_to_the_rule_that_called_it() -> None:
    """Other requests in between do not matter, and the result is not counted."""
    playback = Playback(Script(rules=(Rule(text="a", tool=TOOL, times=2), Rule(text="b"))))
    first, second = playback.reply(_request()), playback.reply(_request())
    assert first.tool == second.tool == TOOL
    assert first.tool_id != second.tool_id
    assert _texts(playback, "x") == ["b"]
    follow_up = playback.reply(_request("hello", first.tool_id))
    assert (follow_up.tool, follow_up.text) == (None, "a")


def test_a_foreign_tool_result_calls_no_tool_again() -> None:
    """A result whose call is from another script is answered with text, so that no conversation goes on for ever."""
    playback = Playback(Script(rules=(Rule(text="old", tool=TOOL),)))
    old = playback.reply(_request())
    playback.use(Script(rules=(Rule(match=Match(prompt="other"), text="other"), Rule(text="new", tool=TOOL))))
    for tool_id in (old.tool_id, "toolu_stub_2_9_1", "toolu_01"):
        reply = playback.reply(_request("hello", tool_id))
        assert (reply.tool, reply.text) == (None, "new")


def test_another_script_starts_from_its_beginning() -> None:
    """Counts of the script before do not carry over."""
    script = Script(rules=(Rule(text="a", times=1), Rule(text="b")))
    playback = Playback(script)
    assert _texts(playback, "x", "x") == ["a", "b"]
    playback.use(script)
    assert _texts(playback, "x") == ["a"]


def test_messages_have_ids_of_their_own() -> None:
    """The CLI tells messages apart by id."""
    playback = Playback(Script())
    assert playback.reply(_request()).id != playback.reply(_request()).id
