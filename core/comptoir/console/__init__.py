"""What faces people and other machines over HTTP."""
