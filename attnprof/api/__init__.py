"""The functions behind the package and the command line: options in, results out."""
