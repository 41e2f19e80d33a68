"""From files to files: one picture, or a folder of them."""
