"""One pure function a metric."""
