"""One verb per file: read, decide in the core, perform, report."""
