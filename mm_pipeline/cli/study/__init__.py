"""mm study: how good the signals were."""
