"""The product: pictures in, larger pictures out. Knows neither ComfyUI nor the command line."""
