"""What an adapter becomes before it is served, one artifact a file; see `trainers.artifact`."""
