"""One file per command: its arguments, its checks, and the call of what does the work. Imports no torch."""
