"""What a record has not taken yet: rows in memory and on disk, and arrays that policies put out."""
