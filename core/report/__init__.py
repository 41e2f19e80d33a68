"""The writer of HTML that reports share."""
