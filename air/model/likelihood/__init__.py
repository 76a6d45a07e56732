"""What a pixel is, given the canvas: a file for each kind."""
