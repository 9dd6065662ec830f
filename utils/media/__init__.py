"""Reading video and sound: from a file to time-stamped images and samples."""
