"""Tables, words and pictures, made from results; nothing here runs anything."""
