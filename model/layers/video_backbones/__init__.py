"""Networks over short volumes of faces, one file each."""
