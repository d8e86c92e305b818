"""A shop that nobody has: the connector that the conformance kit is tried on."""
