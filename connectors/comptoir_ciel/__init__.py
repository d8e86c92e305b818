"""Journal entries as files for Ciel Compta and Sage 50."""
