"""SAR beside plain training from the same start, by the same number of steps."""
