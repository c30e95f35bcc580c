"""The interfaces `Policy` and `Forecaster`, and the checks that a policy must pass."""
