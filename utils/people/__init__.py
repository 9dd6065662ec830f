"""From tracks to people: which tracks show the same human being, and who it is."""
