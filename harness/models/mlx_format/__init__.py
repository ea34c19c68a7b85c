"""What mlx-lm writes: adapters and quantised folders, read without MLX."""
