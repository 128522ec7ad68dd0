"""File formats: reading and writing, no physics."""
