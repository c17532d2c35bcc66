"""Who may read and answer on the operator's page, and its settings. What it shows does not belong here."""
