"""Upper bounds on the deliveries of any arm: by flow, and by the random outcomes of one seed in time."""
