"""Journal entries as files for Cegid's accountants' programs."""
