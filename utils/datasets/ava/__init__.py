"""AVA-ActiveSpeaker: labels, download, preparation, windows."""
