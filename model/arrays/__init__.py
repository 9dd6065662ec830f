"""Training and using localizers."""
