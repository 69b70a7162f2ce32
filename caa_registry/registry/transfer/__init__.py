"""How versions get from one registry to another: all that they need, packed, sent, and stored once."""
