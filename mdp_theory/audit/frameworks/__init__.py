"""Losses of released frameworks, called as installed: each adapter replaces generation and the model, nothing else."""
