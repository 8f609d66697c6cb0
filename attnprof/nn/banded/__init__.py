"""Attention in a dilated band with global keys, in linear time and memory, in tiles."""
