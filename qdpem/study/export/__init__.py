"""Tables of a record, or of all records of a study, as files for other programs."""
