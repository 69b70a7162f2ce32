"""Which pairs repeat others, wholly or nearly."""
