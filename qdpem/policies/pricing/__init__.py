"""Prices of nodes and the choice of paths at these prices, for price-based allocation."""
