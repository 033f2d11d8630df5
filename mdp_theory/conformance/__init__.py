"""`rino conformance`: what the losses of released frameworks do, beside the equations whose names they bear."""
