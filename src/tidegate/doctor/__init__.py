"""What ``tidegate doctor`` looks at: this machine, the user's workflow, the repository's settings."""
