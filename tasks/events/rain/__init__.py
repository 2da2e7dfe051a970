"""Rain from files: what fell in each time step, on a grid or at a gauge."""
