"""Choice of paths and plans: delay model, route searches, and stocked pairs on a path."""
