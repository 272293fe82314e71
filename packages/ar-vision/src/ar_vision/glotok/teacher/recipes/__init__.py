"""Recipe and configs of GloTok's teachers."""
