"""What several translators share: discriminators with image pools, cycles, one-sided degradation."""
