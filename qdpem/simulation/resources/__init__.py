"""The resources of a run: clock, pairs, memories, sources, links, repeaters, claims, requests."""
