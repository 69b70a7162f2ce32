"""Repositories on the Hugging Face hub: each holds a vector, or a set of them, with what is known of it.

Strangers find safetensors files, the pairs as JSON Lines, a card and a list of digests. A registry takes in the bundle
that lies beside them; where the licence of the pairs keeps them private there is none, and it takes the vectors alone.
"""
