"""The statements about policy gradients and filtered fine-tuning, proved by SymPy each time the command runs."""
