"""Over which path, with which plan: delay estimates, path choice, stocked pairs on the way."""
