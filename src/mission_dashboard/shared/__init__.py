"""What several server processes share through Redis. None of it is the truth, and all of it may be away."""
