"""What nodes share: who reports what, how the updates are aggregated, and how private they are."""
