"""Recipe and configs of FlexVAR."""
