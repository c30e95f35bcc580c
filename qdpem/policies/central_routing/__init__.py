"""What only the central policies need: path mixes, path searches over the whole network."""
