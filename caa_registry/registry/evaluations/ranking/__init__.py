"""Which vector of a behavior and model does most at equal dose."""
