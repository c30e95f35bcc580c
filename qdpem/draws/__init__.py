"""What chance gives a seed: emissions, attempts, herald timing, outcomes. The same for every arm."""
