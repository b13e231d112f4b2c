"""Tests of `telemetry/`: what the variables ask for, and that no collector can hold up a program's end."""
