"""What an installation in AWS costs in a month: prices and assumptions are data, the rest is arithmetic."""
