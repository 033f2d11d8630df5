"""Figures, tables and the report, drawn from run files alone; nothing here imports jax or another room."""
