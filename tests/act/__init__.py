"""The repository's workflows, run on this machine by act (https://github.com/nektos/act)."""
