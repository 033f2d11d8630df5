"""The theorems in Coq, for `rino prove --kernel`: the sources (`*.v`) and the modules that have them checked."""
