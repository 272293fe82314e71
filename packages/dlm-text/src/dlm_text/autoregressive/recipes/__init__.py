"""Recipe and configs of plain causal language modelling."""
