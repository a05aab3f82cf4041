"""Where the truth about answers is read."""
