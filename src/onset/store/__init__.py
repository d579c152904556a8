"""What has been done: run directories and Parquet parts, written by rename, never overwritten."""
