"""Facts about answers that a verdict reports besides scores: counts, forms, copies of the key."""
