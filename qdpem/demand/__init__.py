"""Requests and the streams they come from."""
