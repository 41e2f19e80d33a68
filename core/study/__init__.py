"""Blind A/B studies: design, pictures, votes, analysis, page and server."""
