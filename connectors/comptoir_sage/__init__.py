"""Journal entries as files for Sage 100."""
