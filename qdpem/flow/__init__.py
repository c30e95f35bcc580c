"""Multicommodity flow: long-run capacity and path mixes by linear programming with column generation."""
