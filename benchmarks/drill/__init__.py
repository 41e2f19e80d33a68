"""The parts of ``gpu_drill.py``: groups of rows, and what runs, limits and reports them."""
