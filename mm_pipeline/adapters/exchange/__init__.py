"""Asks an exchange: clients, retries, deadlines, request budgets, errors."""
