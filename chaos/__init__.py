"""Faults injected for real under a constant load: `make chaos` runs every case and prints what each has shown."""
