"""The stand-in for the CLI: a shell script that takes its time, has a tool running beside it, and keeps the ledger.

It behaves towards signals as the real one does: SIGINT and SIGTERM end it, and it takes its tool with it; for its first
0.2 s it ignores SIGINT (measured on CLI 2.1.197); killed, it leaves its tool behind.
"""

from pathlib import Path

LEDGER_VARIABLE = "CHAOS_LEDGER"
RESPONDER_VARIABLE = "CHAOS_RESPONDER"

# `read` and `echo` are the shell's own: a run costs three processes. A line is one write to the end of the file.
_SCRIPT = f"""#!/bin/sh
if [ "$1" = --version ]; then echo "0.0.0 (stand-in)"; exit; fi
note() {{
    read -r now rest </proc/uptime
    echo "$1 $token ${RESPONDER_VARIABLE} $$ $tool $now" >>"${LEDGER_VARIABLE}"
}}
stop() {{
    kill -9 $tool $nap
    note stopped
    exit 130
}}
read -r token seconds
trap '' INT
sleep 600 & tool=$!
sleep "$seconds" & nap=$!
note started
sleep 0.2
trap stop INT TERM
wait $nap
kill -9 $tool
note ended
answer='{{"type":"result","subtype":"success","is_error":false,"result":"%s","session_id":"s","num_turns":1}}\\n'
printf "$answer" "$token"
"""


def write_stand_in(folder: Path) -> Path:
    """Write the script and give its path."""
    path = folder / "claude"
    path.write_text(_SCRIPT)
    path.chmod(0o755)
    return path
