"""Path mixes and path searches over the whole network, for the central policies only."""
