"""What more than one function does: over the adapters, below the handlers."""
