"""The built-in kernels, one file each; files whose names begin with _ are shared by some of them."""
