"""The figures of a report: plots, the network map, their style."""
