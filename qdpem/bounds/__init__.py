"""Upper bounds on what any arm can deliver: by flow, and by what one seed's draws allow in time."""
