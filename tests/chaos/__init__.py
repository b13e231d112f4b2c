"""Tests of the chaos harness: that it counts right, and that it sees what it is there to see."""
