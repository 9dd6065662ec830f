"""Many videos: lists, shards, states, engines, collecting results; analysing one is given."""
