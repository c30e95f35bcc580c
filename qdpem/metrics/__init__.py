"""Metrics and reward, computed from event tables and nothing else."""
