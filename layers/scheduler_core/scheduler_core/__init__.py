"""The shared layer: what every function of the scheduler stands on."""
