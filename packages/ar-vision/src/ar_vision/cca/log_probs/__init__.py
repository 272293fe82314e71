"""The stage that stores what the starting model thinks of a run's pairs."""
