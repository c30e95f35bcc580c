"""Real traffic from files, as frozen values: nothing here draws a random number or knows a scenario."""
