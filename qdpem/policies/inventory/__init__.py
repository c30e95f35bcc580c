"""Which pairs to generate ahead of requests, and how many: base-stock control."""
