"""Lists of requests with their times: the value and its readers."""
