"""Gated recurrent units, one set of weights for each node: the cell, its training, its public start."""
