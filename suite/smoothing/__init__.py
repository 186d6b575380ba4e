"""Randomized smoothing: keyed noise, votes under it, and averages."""
