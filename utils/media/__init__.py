"""Reading video and audio: from a file to time-stamped images and samples."""
