"""Frames on disk or in object storage: written whole or not at all, with a checksum each."""
