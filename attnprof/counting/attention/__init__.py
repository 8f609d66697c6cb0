"""Every attention of a call: the pairs that its mask lets through and those that are multiplied."""
