"""TalkSet: plan it from videos, build it, read its lists."""
