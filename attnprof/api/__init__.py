"""What the package and the command line share: options in, results out."""
