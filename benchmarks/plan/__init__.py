"""`ar-train plan` beside what runs take."""
