"""mm demo: the whole pipeline against the paper exchange."""
