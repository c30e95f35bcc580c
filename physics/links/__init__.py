"""Elementary links: what their hardware achieves over a length."""
