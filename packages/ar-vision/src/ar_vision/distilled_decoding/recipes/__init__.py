"""Recipe and configs of Distilled Decoding."""
