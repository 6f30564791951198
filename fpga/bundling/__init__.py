"""Networks for the designs of others: modules under names of their own, test vectors, scripts."""
