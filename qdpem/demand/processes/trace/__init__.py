"""The trace process: requests that follow traffic matrices, or a list of requests, from a file."""
