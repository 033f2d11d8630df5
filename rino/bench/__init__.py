"""Speed: what `rino bench` and the scripts beside it measure."""
