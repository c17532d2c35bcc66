"""An operator's commands: status, answers, journal, KPIs, imports."""
