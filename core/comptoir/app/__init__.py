"""The use cases, and the only wiring of real parts (`bootstrap`)."""
