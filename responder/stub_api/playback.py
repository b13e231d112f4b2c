"""Where a script stands: which rule answers the next request."""

import re
from collections import Counter

from responder.stub_api.messages import Reply, answer_text
from responder.stub_api.request import MessagesRequest
from responder.stub_api.script import Answer, Rule, Script

_TOOL_ID = re.compile(r"toolu_stub_(\d+)_(\d+)_\d+")
_DEFAULT = Answer()


class Playback:
    """Plays scripts, one after the other; does no I/O.

    A tool call's id names the script and the rule it came from, so that its result finds the same rule however many
    requests came between, and nothing has to be kept.

    Args:
        script: The first script.
    """

    def __init__(self, script: Script) -> None:
        self._replies = 0
        self._scripts = 0
        self.use(script)

    def __repr__(self) -> str:
        return f"Playback(rules={len(self._script.rules)}, served={dict(self._served)})"

    def use(self, script: Script) -> None:
        """Play another script from its beginning."""
        self._script = script
        self._served: Counter[int] = Counter()
        self._scripts += 1

    def reply(self, request: MessagesRequest) -> Reply:
        """Decide what a request gets, and count it against its rule.

        The result of a tool call is answered by the rule that asked for the call and is not counted again. When that
        rule was in an earlier script, the rules decide as for a prompt, but no tool is called once more.
        """
        self._replies += 1
        index = self._rule_called(request)
        if index is None:
            index = self._rule_matching(request)
        answer = _DEFAULT if index is None else self._script.rules[index]
        tool = None if request.tool_result_ids else answer.tool
        return Reply(
            id=f"msg_stub_{self._replies}",
            model=request.model,
            text=answer_text(answer, request.prompt),
            answer=answer,
            tool=tool,
            tool_id=f"toolu_stub_{self._scripts}_{index}_{self._replies}" if tool else "",
        )

    def _rule_called(self, request: MessagesRequest) -> int | None:
        for tool_id in request.tool_result_ids:
            found = _TOOL_ID.fullmatch(tool_id)
            if found and int(found[1]) == self._scripts and int(found[2]) < len(self._script.rules):
                return int(found[2])
        return None

    def _rule_matching(self, request: MessagesRequest) -> int | None:
        for index, rule in enumerate(self._script.rules):
            if self._is_open(index, rule) and rule.match.takes(request.prompt, request.model):
                self._served[index] += 1
                return index
        return None

    def _is_open(self, index: int, rule: Rule) -> bool:
        return rule.times is None or self._served[index] < rule.times
