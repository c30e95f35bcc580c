"""The laws that forecasters must keep, and the scores of their forecasts."""
