"""The seams Policy and Forecaster, and the checks an implementation must pass."""
