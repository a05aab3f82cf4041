"""Where a training run writes what it did."""
