"""The deterministic simulation: engine, store and sandboxes under a simulated clock and a seeded fault injector."""
