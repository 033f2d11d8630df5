"""Methods as data: the algebra of objectives, the catalogue, and what they say in mathematics."""
