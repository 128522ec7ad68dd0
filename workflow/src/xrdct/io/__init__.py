"""File formats: bytes in, arrays out, and back. Nothing in here knows physics."""
