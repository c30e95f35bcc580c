"""The physics models that qdpem registers, and the constants they compile."""
