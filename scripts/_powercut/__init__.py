"""What `scripts/powercut` is made of: a disk that can lose power, writers that know what they were promised, a judge."""
