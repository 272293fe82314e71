"""Recipe and configs of NSARM."""
