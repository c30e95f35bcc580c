"""Everything that can be wrong with a scenario, and the sentences that say so."""
