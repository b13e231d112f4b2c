"""Where a script stands: which rule answers the next request."""

import re
from collections import Counter

from responder.stub_api.messages import MessagesRequest, Reply, answer_text
from responder.stub_api.script import Answer, Rule, Script

_TOOL_ID = re.compile(r"toolu_stub_(\d+)_(\d+)_\d+")
_DEFAULT = Answer()


class Playback:
    """Plays scripts, one after the other; does no I/O.

    A tool call's id names the script and the rule it came from, so that its result finds the same rule however many
    requests came between, and nothing has to be kept.
    """

    def __init__(self, script: Script) -> None:
        self._scripts = 0
        self._replies = 0
        self.use(script)

    def __repr__(self) -> str:
        return f"Playback(rules={len(self._script.rules)}, served={dict(self._served)})"

    def use(self, script: Script) -> None:
        """Play another script from its beginning."""
        self._script = script
        self._served: Counter[int] = Counter()
        self._scripts += 1

    def answer(self, request: MessagesRequest) -> tuple[Answer, Reply]:
        """Decide what a request gets, and count it."""
        self._replies += 1
        index = self._rule_called(request)
        has_result = bool(request.tool_result_ids)
        if index is None:
            index = self._rule_matching(request)
        rule: Answer = _DEFAULT if index is None else self._script.rules[index]
        tool = None if has_result else rule.tool
        reply = Reply(
            id=f"msg_stub_{self._replies}",
            model=request.model,
            text="" if tool else answer_text(rule, request.prompt),
            answer=rule,
            tool=tool,
            tool_id=f"toolu_stub_{self._scripts}_{index}_{self._replies}",
        )
        return rule, reply

    def _rule_called(self, request: MessagesRequest) -> int | None:
        for tool_id in request.tool_result_ids:
            found = _TOOL_ID.fullmatch(tool_id)
            if found and int(found[1]) == self._scripts:
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
