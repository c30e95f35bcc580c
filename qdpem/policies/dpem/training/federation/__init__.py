"""What nodes share: who reports, what hostile nodes report, how updates are aggregated, and at what privacy."""
