"""What Tidegate costs and what it can see, side by side with what one would use instead."""
