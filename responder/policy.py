"""The argument policy as a table for people: `claude-responder policy`."""

from rich.table import Table

from responder.arguments import FLAGS, OPT_INS, ArgumentPolicy, Flag


def policy_table(policy: ArgumentPolicy) -> Table:
    """Show which flags a request may use here, and which the operator could allow."""
    table = Table(title="Flags that a request may use; everything else is refused", title_justify="left")
    table.add_column("flag", no_wrap=True)
    for column in ("value", "here"):
        table.add_column(column, overflow="fold")
    for flag in FLAGS:
        table.add_row(flag.name, flag.takes or "-", _here(flag, policy))
    for opt_in in OPT_INS:
        if "=" in opt_in:
            table.add_row(opt_in, "-", _allowed(opt_in in policy.allow))
    argv = policy.arguments(None).argv
    table.caption = (
        "The operator allows more with CLAUDE_RESPONDER_ALLOW, or --allow.\n"
        f"A request without args runs: claude {' '.join(argv)}"
    )
    table.caption_justify = "left"
    return table


def _here(flag: Flag, policy: ArgumentPolicy) -> str:
    if flag.opt_in:
        return _allowed(flag.name in policy.allow)
    bounds = {
        "--model": ", ".join(policy.models),
        "--fallback-model": ", ".join(policy.models),
        "--tools": ", ".join(policy.tools),
        "--max-budget-usd": f"at most {policy.max_budget_usd}" if policy.max_budget_usd is not None else "",
    }
    bound = bounds.get(flag.name)
    return f"allowed: {bound}" if bound else "allowed"


def _allowed(is_allowed: bool) -> str:  # a word for a flag
    return "allowed by the operator" if is_allowed else "needs the operator"
