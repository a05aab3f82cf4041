"""The workflows are judged: by linters, by our own rules, and by GitHub's own parser."""
