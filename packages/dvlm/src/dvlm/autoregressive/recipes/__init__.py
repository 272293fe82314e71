"""Recipe and configs of vl_autoregressive."""
