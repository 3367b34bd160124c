"""Forecasts of a series: scaling, origins, models without a network, and scores."""
