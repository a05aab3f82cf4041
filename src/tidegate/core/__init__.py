"""The pure core: decisions as functions from data to data. No IO, clock, log or randomness."""
