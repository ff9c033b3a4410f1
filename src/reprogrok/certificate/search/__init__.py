"""A model -> proof trees, by estimates in plain floats. Untrusted: a tree counts once the checker confirms it."""
