"""What a user would pick instead, beside ours: `make bench-peers` (docs/performance.md says what each row is)."""
