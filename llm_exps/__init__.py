"""Training real language models under every catalogued method, with the equivalence measured on the way."""
