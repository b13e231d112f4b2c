"""Tests of the measurements: what they compute, not what they measure."""
