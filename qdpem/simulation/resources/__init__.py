"""What allocations compete for: clock, pairs, memories, sources, links, repeaters, claims."""
