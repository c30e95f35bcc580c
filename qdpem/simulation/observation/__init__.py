"""The knowledge of a site when it is asked: its own state, and the aged reports of others."""
