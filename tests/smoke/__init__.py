"""A whole rollout on a real account, and on the stand-ins by the same script: ``python -m tests.smoke``."""
