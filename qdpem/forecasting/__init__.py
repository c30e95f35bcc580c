"""Forecasters of request counts, from constant to clairvoyant, and their evaluation."""
