"""The operator's page over real HTTP."""
