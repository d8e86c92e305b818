"""A till that nobody has: the connector of files that the conformance kit is tried on."""
