"""Networks made ready to run: fused, planned, in memory that is used again."""
