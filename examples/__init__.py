"""Runnable examples; `python -m examples.demo` shows the whole at once."""
