"""What every integrator shares: the loop, the state of a flow, saving, stops, the solution."""
