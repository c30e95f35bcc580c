"""Long-run capacity by linear programming with column generation."""
