"""Sessions with the clouds: credentials that renew themselves, bounded repeats, typed refusals."""
