"""What a site may know when it is asked: its own state, and the aged reports of others."""
