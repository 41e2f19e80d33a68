"""Finding, fetching and loading of upscale models. It is independent of the rest of the pack."""
