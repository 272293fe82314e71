"""Recipe and configs of SAR."""
