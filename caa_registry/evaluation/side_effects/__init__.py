"""What a vector does beside what it is for: how far it moves the model on text that has nothing to do with it."""
