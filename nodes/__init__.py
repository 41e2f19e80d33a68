"""ComfyUI adapters: forms that convert, call one function of the core and convert back."""
