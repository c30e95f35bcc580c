"""What price-based allocation needs: the prices of nodes and the cheapest paths at them."""
