"""Typed event tables and the recorder that collects their rows."""
