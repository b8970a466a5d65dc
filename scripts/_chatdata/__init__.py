"""What `scripts/chatdata` is made of: a planned chat app's backup, written to disk, and trees compared."""
