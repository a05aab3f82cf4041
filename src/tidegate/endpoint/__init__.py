"""The embedded endpoint: a supervisor, Envoy, and one model server per variant."""
