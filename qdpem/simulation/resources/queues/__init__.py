"""What claims wait for: sources, attempts of links, tokens of repeaters."""
