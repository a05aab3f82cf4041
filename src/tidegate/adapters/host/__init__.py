"""Where the code lives and people read."""
