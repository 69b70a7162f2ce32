"""What can be searched, in words that both databases find alike."""
