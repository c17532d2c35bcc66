"""The words and the picture of a page, within the limits of its channel."""
