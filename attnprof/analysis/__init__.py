"""What follows from results: crossovers, predictions, findings."""
