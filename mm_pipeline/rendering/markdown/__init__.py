"""Study results as Markdown tables."""
