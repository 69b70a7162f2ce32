"""What travels: versions with all that they need, without the numbers of the registry that they are in."""
