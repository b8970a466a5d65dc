"""What `scripts/powercut` is made of: a disk that can lose power, writers that log what they are promised, a judge."""
