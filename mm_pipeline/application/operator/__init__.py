"""What an operator asks of the journal: how the grids stand, what happened, which page was last."""
