"""What a forecaster must keep, and how well it forecasts."""
