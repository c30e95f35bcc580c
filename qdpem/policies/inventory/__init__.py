"""Which pairs to generate ahead of demand, and how many: base-stock control."""
