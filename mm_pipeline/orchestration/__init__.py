"""Dagster around the application: assets, jobs, sensors, runs. What is decided does not belong here."""
