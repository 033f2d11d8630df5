"""What a method does to a problem, exactly: expected gradients, variances and training curves."""
