"""Networks that localise speech, one per file; the file name is the network's name."""
