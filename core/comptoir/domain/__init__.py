"""The merchant's rules as pure functions: no I/O, no clock, nothing but the model and the errors."""
