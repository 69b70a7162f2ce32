"""What keeps a registry that several people share in order: names, descriptions, tags, search."""
