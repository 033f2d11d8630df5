"""`rino check`: the degeneracy claim held against one problem."""
