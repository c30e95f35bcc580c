"""The graph, its hardware, path finding and outages."""
