"""What a row means: its columns, its batches, its loss, its metrics."""
