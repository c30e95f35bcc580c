"""The allocation policies, one in each module, and the rooms that they share."""
