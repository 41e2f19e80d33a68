"""Finding, fetching and loading of upscale models. It knows nothing of the rest of the pack."""
