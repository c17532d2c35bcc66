"""mm doctor: checks of an installation."""
