"""TalkSet: planning from videos, building, and reading of lists."""
