"""The analysis of finished records: results, statistics, contrasts between arms, the reference arm."""
