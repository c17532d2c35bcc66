"""Studies over history: how good verdicts, risk figures and pages were."""
