"""Runs simulated again from what their records hold, and compared bit for bit."""
