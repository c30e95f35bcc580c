"""The demand of a scenario described: totals, statistics of counts, predictability."""
