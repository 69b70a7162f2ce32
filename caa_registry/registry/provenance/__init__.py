"""Where things come from: runs, lineage, recalls, aliases."""
