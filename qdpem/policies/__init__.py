"""The allocators: one module per policy, and what they share."""
