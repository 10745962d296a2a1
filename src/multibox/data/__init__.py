"""Data sets: reading and checking annotations, decoding, augmentation, batches. No torch."""
