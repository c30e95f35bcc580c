"""DPEM: a PPO agent on every node that chooses allocations from forecasts and reports."""
