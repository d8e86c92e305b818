"""Journal entries as files for the FEC layout."""
