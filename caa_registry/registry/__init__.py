"""What a user holds: a Registry that ties catalogue, blobs and computation together and records runs."""
