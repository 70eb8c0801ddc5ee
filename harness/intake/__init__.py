"""What students hand in: found, opened within bounds, and sorted into its parts."""
