"""Recipe and configs of diffusionvl."""
