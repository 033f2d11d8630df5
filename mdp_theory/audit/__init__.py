"""`rino audit`: what any loss really does, put to it as a black box."""
