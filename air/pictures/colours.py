"""The colours of the steps, the same in every picture."""

# The first three steps in red, green, blue as in the paper's figures, in shades that stay apart for
# colour-blind readers and in print; then the same palette's other colours (Wong, 2011).
STEP_COLOURS = ("#D55E00", "#009E73", "#56B4E9", "#F0E442", "#CC79A7", "#E69F00", "#0072B2")


def step_colour(step: int) -> str:
    """Return the colour of a step, as #RRGGBB; after the last one they begin again."""
    return STEP_COLOURS[step % len(STEP_COLOURS)]


# Of lines on white that are compared with one another: the palette without its yellow.
SERIES_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
