"""Where captured requests and answers are read."""
