"""Models: loading, fingerprint, the residual stream (read it, add to it), prompts and templates."""
