"""What finished records say: results, statistics, contrasts between arms, the reference arm."""
