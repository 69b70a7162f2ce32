"""Whether evaluations are what they say, and whether they come out again."""
