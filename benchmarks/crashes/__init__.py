"""Jobs of every kind, killed where it hurts and continued: what they leave against what an uninterrupted one leaves."""
