"""Optuna studies of a method's settings."""
