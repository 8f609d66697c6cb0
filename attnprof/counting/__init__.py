"""What torch dispatches: MACs of every operator, on real tensors or on fake ones."""
