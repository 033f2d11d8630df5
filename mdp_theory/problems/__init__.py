"""Problems: token MDPs and their trees, named small ones, and controls that break one assumption each."""
