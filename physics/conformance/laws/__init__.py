"""The laws, by subject: each yields how far a model deviates from it."""
