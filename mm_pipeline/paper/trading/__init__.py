"""Accounts of the paper exchange: orders, balances, ledger, and a grid bot that trades."""
