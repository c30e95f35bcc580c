"""The queues in which claims wait: for sources, attempts of links, tokens of repeaters."""
