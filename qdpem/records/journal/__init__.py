"""The rows of a run that is not over: a file that only grows, so that no kill can break what it holds."""
