"""Tests of `examples/`: the collector and the tree of the demo."""
