"""Recipe and configs of CCA."""
