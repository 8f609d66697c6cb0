"""The built-in kernels, one file each; names of files that several share begin with _."""
