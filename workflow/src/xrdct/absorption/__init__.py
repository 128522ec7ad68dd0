"""Self-absorption: from scale maps to an attenuation map, to transmission, to a corrected sinogram."""
