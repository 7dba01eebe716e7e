"""Atomic file writes and locks between processes."""
