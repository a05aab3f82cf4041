"""A GitHub on loopback, with state, held to GitHub's own description of its API."""
