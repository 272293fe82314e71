"""Control maps: kinds, extraction from pictures, and maps beside stored codes."""
