"""What a command line can say of figures without importing what draws them."""

from typing import Literal

Format = Literal["png", "pdf", "svg"]

FONT = "DejaVu Sans"
"""Ships with matplotlib and has every sign used here, so figures look alike anywhere."""
