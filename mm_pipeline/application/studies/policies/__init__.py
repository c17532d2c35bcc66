"""The study of policies: what leaving grids at signals is worth, beside opponents that know less (SPEC 10)."""
