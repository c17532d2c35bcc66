"""``mm page``: the operator's page, served to a browser."""
