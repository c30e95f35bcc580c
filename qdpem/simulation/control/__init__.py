"""The control plane that asks sites and carries their allocations, and outages."""
