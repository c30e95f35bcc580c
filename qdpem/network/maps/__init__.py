"""Maps in files: reading, checking and cleaning them."""
