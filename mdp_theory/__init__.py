"""Exact computation on small token MDPs: objectives, gradients, degeneracy and training curves, in float64."""
